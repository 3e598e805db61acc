// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The Service VM: Linux on CPU 0 and on those that it starts, with everything passed through but mini-ACRN's own
//! memory.

use crate::exit::{cpuid, msr};
use crate::handoff::{self, Command};
use crate::phys::ServiceMemory;
use crate::svm::Context;
use crate::user_memory::{self, Code};
use crate::{cpu, frames, hypercall, lapic, log, panic, phys, slot_trap, svm, time};
use core::sync::atomic::{AtomicU64, Ordering};
use mini_acrn_channel::ACCOUNT_SERVICE;
use mini_acrn_logic::cpuid::Viewer;
use mini_acrn_logic::decode;
use mini_acrn_logic::npt::{Attr, Npt, PAGE};
use mini_acrn_logic::regs::RSI;
use mini_acrn_logic::vmcb::{
    CR0_ET, CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_LME, EFER_NXE, EFER_SVME, Event, GP,
    Intercept1, Intercept2, Segment, UD, exit, npf,
};
use spin::{Mutex, Once};

const ASID: u32 = 1;
/// Read, write, execute; write back.
const OPEN: Attr = Attr(0x47);
/// Read only; write back.
const READ_ONLY: Attr = Attr(0x41);
/// The same for a page that the Service VM has for its own use.
const READ_ONLY_DATA: Attr = Attr(0x45);

/// How long REMOVE_CPU waits.
const REMOVE_MS: u64 = 2000;

static NESTED: Once<Mutex<Npt>> = Once::new();
static CONTEXTS: [Mutex<Context>; cpu::MAX] = [const { Mutex::new(Context::zeroed()) }; cpu::MAX];
/// Where the kernel starts; 0 as long as it is not loaded.
static ENTRY: AtomicU64 = AtomicU64::new(0);

/// Held while a command is put into the mailbox and its CPU kicked, and while one is taken.
static MAILBOX: Mutex<()> = Mutex::new(());

/// The Service VM's nested page tables: one to one, less mini-ACRN's memory.
fn nested() -> &'static Mutex<Npt> {
    NESTED.call_once(|| {
        let pool = &mut *frames::POOL.lock();
        let build = |pool: &mut frames::Pool| {
            let (own, top) = (phys::image(), phys::space().top);
            let (open, open_len) = handoff::open_pages();
            let mut npt = Npt::new(pool)?;
            npt.map(pool, 0, 0, own.start, OPEN, 3)?;
            npt.map(pool, own.end, own.end, top - own.end, OPEN, 3)?;
            npt.map(pool, open, open, open_len, OPEN, 1)?;
            npt.map(pool, handoff::mailbox(), handoff::mailbox(), PAGE, READ_ONLY, 1)?;
            Ok::<_, mini_acrn_logic::npt::OutOfTables>(npt)
        };
        Mutex::new(build(pool).expect("the pool is fresh"))
    })
}

/// Makes a page of the Service VM read-only, or writable again: on each CPU when that enters the guest next. Whether
/// there was memory for it.
pub fn protect(page: u64, protected: bool) -> bool {
    let attr = if protected { READ_ONLY_DATA } else { OPEN };
    nested().lock().protect(&mut *frames::POOL.lock(), page, attr).is_ok()
}

/// Puts `cx` at `rip` in long mode, with the first 4 GiB mapped one to one.
fn start_state(cx: &mut Context, rip: u64) {
    let more = Intercept1::NMI;
    cx.init(
        more,
        ASID,
        nested().lock().root(),
        (&raw const msr::SERVICE_MAP) as u64,
        0,
        ACCOUNT_SERVICE,
    );
    cx.vmcb.control.intercept2 |= Intercept2::VMMCALL.bits();
    cx.vmcb.control.intercept2 &= !(Intercept2::MONITOR | Intercept2::MWAIT).bits();
    let save = &mut cx.vmcb.save;
    save.reset(Segment { selector: 0x10, attributes: 0xA9B, limit: u32::MAX, base: 0 }, rip);
    let data = Segment { selector: 0x18, attributes: 0xC93, limit: u32::MAX, base: 0 };
    (save.ds, save.es, save.ss) = (data, data, data);
    (save.gdtr.base, save.gdtr.limit) = handoff::gdt();
    save.cr0 = CR0_PG | CR0_PE | CR0_ET;
    save.cr4 = CR4_PAE;
    save.cr3 = handoff::page_tables();
    // Linux's code for secondary CPUs switches to page tables with no-execute bits at once.
    save.efer = EFER_SVME | EFER_LMA | EFER_LME | EFER_NXE;
}

/// Has CPU 0 run the kernel from its entry point. Called once.
pub fn boot(entry: u64) {
    ENTRY.store(entry, Ordering::Release);
    cpu::kick(0);
}

/// Runs the Service VM's first CPU, once there is a kernel.
pub fn run_boot() -> ! {
    let entry = loop {
        match ENTRY.load(Ordering::Acquire) {
            0 => svm::sleep(),
            entry => break entry,
        }
    };
    // The kick may still be pending, and the guest has no handler yet.
    svm::acknowledge_nmi();
    let mut cx = CONTEXTS[0].lock();
    start_state(&mut cx, entry);
    cx.gprs().0[RSI] = handoff::zero_page();
    log!("Service VM starts at {entry:#x}");
    run(&mut cx, 0);
    log!("Service VM halted");
    panic::power_off()
}

/// Runs CPU `id` of the Service VM whenever that wants it; returns when it is given up.
pub fn run_secondary(id: usize) {
    let mut cx = CONTEXTS[id].lock();
    loop {
        if cpu::is_removed(id) {
            return;
        }
        let command = {
            let _mailbox = MAILBOX.lock();
            handoff::mailbox_take(id)
        };
        match command {
            Some(Command::Wake(vector)) => {
                // The kick for it may still be pending, if an earlier one woke the CPU. It must not come once
                // the guest runs, which has no handler yet.
                svm::acknowledge_nmi();
                start_state(&mut cx, vector);
                run(&mut cx, id);
                lapic::quiesce();
            }
            Some(Command::Test) => {}
            None => svm::sleep(),
        }
    }
}

/// Takes CPU `id` away from the Service VM for good. Returns when it is parked; at once if it is the caller itself,
/// and after a while if it does not come: one that waits for this hypercall to end parks itself after that.
pub fn remove_cpu(id: usize) {
    cpu::remove(id);
    if !cpu::is(id, cpu::Owner::Service) {
        return;
    }
    cpu::kick(id);
    let end = time::now() + REMOVE_MS * u64::from(time::tsc_khz());
    while cpu::is(id, cpu::Owner::Service) && lapic::id() != cpu::lapic_id(id) && time::now() < end
    {
        core::hint::spin_loop();
    }
}

/// Runs a vCPU until it parks itself or is taken away.
fn run(cx: &mut Context, id: usize) {
    cx.load();
    loop {
        cx.enter();
        match cx.vmcb.control.exit_code {
            exit::CPUID => cpuid::exit(cx, Viewer::Service),
            exit::MSR => msr::service_exit(cx, id),
            exit::UD => undefined(cx),
            exit::NPF => nested_fault(cx),
            exit::DB => slot_trap::stepped(cx),
            exit::VMMCALL if cx.vmcb.save.rip == handoff::park_vector() => return,
            exit::NMI => {
                svm::acknowledge_nmi();
                if cpu::is_removed(id) {
                    return;
                }
                cx.inject(Event::NMI);
            }
            exit::SHUTDOWN => {
                panic!("Service VM: triple fault on CPU {id} at {:#x}", cx.vmcb.save.rip)
            }
            exit::INVALID => panic!("Service VM: the control block of CPU {id} is refused"),
            // SVM's own instructions: the Service VM's CPUs have none.
            _ => cx.inject(Event::fault(UD)),
        }
    }
}

/// The instruction at RIP, as much as is readable.
fn fetch(cx: &Context) -> Code {
    user_memory::fetch_with(&cx.vmcb.save, &ServiceMemory, |gpa, out| {
        phys::is_service_ram(gpa, out.len() as u64).then_some(())?;
        phys::read_bytes(gpa, out)
    })
}

/// #UD: a VMCALL is a hypercall, anything else is the guest's own business.
fn undefined(cx: &mut Context) {
    if !fetch(cx).bytes().starts_with(&[0x0F, 0x01, 0xC1]) {
        cx.inject(Event::fault(UD));
    } else if cx.vmcb.save.cpl != 0 {
        cx.inject(Event::fault_with_code(GP, 0));
    } else if hypercall::exit(cx) {
        cx.skip(3);
    }
}

/// An access that the nested page tables refuse: a write to the mailbox, or nothing the Service VM may do.
fn nested_fault(cx: &mut Context) {
    let gpa = cx.vmcb.control.exit_info2;
    let write = cx.vmcb.control.exit_info1 & npf::WRITE != 0;
    if write && slot_trap::step(cx, gpa & !(PAGE - 1)) {
        return;
    }
    let offset = gpa.wrapping_sub(handoff::mailbox());
    if write && offset < PAGE {
        let insn =
            decode::decode(fetch(cx).bytes(), cx.vmcb.save.mode().bits).filter(|i| !i.is_string());
        if let Some((insn, value)) = insn.and_then(|i| Some((i, i.stored(cx.gprs())?))) {
            let _mailbox = MAILBOX.lock();
            let target = handoff::mailbox_write(offset as usize, &value.to_le_bytes()[..insn.size]);
            match target.filter(|id| *id != cpu::BOOT) {
                Some(id) if cpu::claim(id) => cpu::kick(id),
                // Nothing starts, as on ACRN, but Linux waits for the acknowledgement.
                Some(id) => {
                    handoff::mailbox_take(id);
                }
                None => {}
            }
            return cx.skip(insn.len);
        }
    }
    log!(
        "Service VM: access to {gpa:#x} at {:#x} refused (code {:#x})",
        cx.vmcb.save.rip,
        cx.vmcb.control.exit_info1
    );
    cx.inject(Event::fault_with_code(GP, 0));
}
