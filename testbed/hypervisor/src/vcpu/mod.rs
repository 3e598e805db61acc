// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A User VM's vCPU, and the loop in which its CPU runs it.

use crate::exit::apic::Shadow;
use crate::exit::{cpuid, ioio, msr, npf};
use crate::svm::{self, Context};
use crate::vm::{self, Vm};
use crate::{cpu, ioreq, lapic, log, time, trace, user_memory};
use acrn_uapi::acrn_regs;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use mini_acrn_channel::{ACCOUNT_USER, kind};
use mini_acrn_logic::cpuid::Viewer;
use mini_acrn_logic::regs::{Gprs, RDX};
use mini_acrn_logic::vcpu_state;
use mini_acrn_logic::vmcb::{Event, GP, Intercept1, UD, exit};
use spin::{Mutex, MutexGuard};

/// Signals to a vCPU.
const NMI: u32 = 1 << 1;
const INIT: u32 = 1 << 2;
const SIPI: u32 = 1 << 3;
const SIPI_PAGE_SHIFT: u32 = 8;
/// All User VMs' address spaces have the same id: a CPU runs one at a time and flushes its TLB at entry.
const ASID: u32 = 2;
/// Processor signature in EDX after reset (APM vol. 2, 14.1.3); what QEMU has.
const RESET_EDX: u64 = 0x60FB1;

/// The I/O permission map of User VMs: every port stops the guest.
#[repr(C, align(4096))]
struct AllPorts([u8; 3 * 4096]);
static ALL_PORTS: AllPorts = AllPorts([0xFF; 3 * 4096]);

/// What a vCPU of a paused VM waited for when the VM was paused: that wakes it still, as on ACRN.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It ran, or waits for what does not come.
    Nothing = 1,
    /// The answer to its I/O request.
    Answer,
    /// An interrupt: it executed HLT.
    Interrupt,
}

/// A vCPU.
pub struct Vcpu {
    cpu: AtomicU8,
    context: Mutex<Context>,
    /// A CPU runs it, or is told to; cleared by that CPU.
    active: AtomicBool,
    stop: AtomicBool,
    /// The VM is paused, and nothing has woken this vCPU since.
    pause: AtomicBool,
    /// It stands still because of that: a [`Wait`], or 0.
    stands: AtomicU8,
    /// What has woken it since the VM was paused: a [`Wait`], or 0.
    woken: AtomicU8,
    /// Waits for a start-up IPI.
    parked: AtomicBool,
    signals: AtomicU32,
    /// NOTIFY_REQUEST_FINISH came. Latched: also if no request is under way.
    finished: AtomicBool,
    /// TSC ticks that it slept since its last exit.
    slept: AtomicU64,
    /// APIC registers that are not the real ones.
    pub apic: Mutex<Shadow>,
}

/// What follows from an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Go on.
    Run,
    /// The vCPU is to stop; the instruction was not carried out.
    Stop,
    /// The guest shut down: a triple fault.
    ShutDown,
    /// mini-ACRN can't carry the instruction out.
    Fail,
}

impl Vcpu {
    /// Of no VM.
    pub const fn new() -> Self {
        Self {
            cpu: AtomicU8::new(0),
            context: Mutex::new(Context::zeroed()),
            active: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            pause: AtomicBool::new(false),
            stands: AtomicU8::new(0),
            woken: AtomicU8::new(0),
            parked: AtomicBool::new(false),
            signals: AtomicU32::new(0),
            finished: AtomicBool::new(false),
            slept: AtomicU64::new(0),
            apic: Mutex::new(Shadow::RESET),
        }
    }

    /// Puts the vCPU on a CPU.
    pub fn place(&self, cpu: usize) {
        self.cpu.store(cpu as u8, Ordering::Release);
    }

    /// Its CPU.
    pub fn cpu(&self) -> usize {
        usize::from(self.cpu.load(Ordering::Acquire))
    }

    /// Its APIC id: the LAPIC id of its CPU.
    pub fn apic_id(&self) -> u8 {
        cpu::lapic_id(self.cpu())
    }

    /// Whether a CPU runs it.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Whether it takes interrupts.
    pub fn is_running(&self) -> bool {
        self.is_active() && !self.parked.load(Ordering::Acquire)
    }

    fn context(&self) -> MutexGuard<'_, Context> {
        assert!(!self.is_active(), "the vCPU runs");
        self.context.lock()
    }

    /// Power-on state. The vCPU must not run.
    pub fn reset(&self, nested_root: u64) {
        let mut cx = self.context();
        cx.init(
            Intercept1::NMI | Intercept1::IOIO,
            ASID,
            nested_root,
            (&raw const msr::USER_MAP) as u64,
            (&raw const ALL_PORTS.0) as u64,
            ACCOUNT_USER,
        );
        power_on(&mut cx);
        for flag in [&self.stop, &self.pause, &self.parked, &self.finished] {
            flag.store(false, Ordering::Release);
        }
        self.woken.store(0, Ordering::Release);
        self.signals.store(0, Ordering::Release);
        *self.apic.lock() = Shadow::RESET;
    }

    /// Takes registers from SET_VCPU_REGS. The vCPU must not run.
    pub fn set_regs(&self, regs: &acrn_regs) {
        let cx = &mut *self.context();
        let mut gprs = Gprs::default();
        vcpu_state::from_regs(regs, &mut cx.vmcb.save, &mut gprs);
        *cx.gprs() = gprs;
    }

    /// Has its CPU run it. vCPUs but the first wait for a start-up IPI.
    pub fn start(&self, vmid: u16, id: usize) {
        self.parked.store(id != 0, Ordering::Release);
        self.stop.store(false, Ordering::Release);
        self.active.store(true, Ordering::Release);
        cpu::assign(self.cpu(), 1 << 31 | u32::from(vmid) << 8 | id as u32);
    }

    /// Tells it to stand still where it is, until it is woken or stopped.
    pub fn pause(&self) {
        if self.is_active() {
            self.pause.store(true, Ordering::Release);
            self.kick();
        }
    }

    /// Whether it has to stand still.
    pub fn is_paused(&self) -> bool {
        self.pause.load(Ordering::Acquire)
    }

    /// Whether it does nothing: stands still, or no CPU runs it.
    pub fn is_still(&self) -> bool {
        !self.is_active() || self.stands.load(Ordering::Acquire) != 0
    }

    /// Sleeps on its CPU until that is kicked.
    pub fn sleep(&self) {
        let from = time::now();
        svm::sleep();
        self.slept.fetch_add(time::now() - from, Ordering::Relaxed);
    }

    /// Stands still on its CPU until it is woken or told to stop.
    fn stand(&self, wait: Wait) {
        self.stands.store(wait as u8, Ordering::Release);
        while self.is_paused() && !self.is_stopping() {
            self.sleep();
        }
        self.stands.store(0, Ordering::Release);
    }

    /// The same in the middle of an I/O request. One that was answered before the pause waits for nothing.
    pub fn stand_in_request(&self, polling: bool) {
        let waits = !polling && !self.finished.load(Ordering::Acquire);
        self.stand(if waits { Wait::Answer } else { Wait::Nothing });
    }

    /// Wakes it if it stands still and waits for that.
    pub fn wake(&self, wait: Wait) {
        if self.is_paused() && self.stands.load(Ordering::Acquire) == wait as u8 {
            self.note_woken(wait);
            self.pause.store(false, Ordering::Release);
            self.kick();
        }
    }

    /// Takes down that it was woken while the VM was paused.
    pub fn note_woken(&self, wait: Wait) {
        self.woken.store(wait as u8, Ordering::Release);
    }

    /// What has woken it since the VM was paused, in words.
    pub fn woken_by(&self) -> Option<&'static str> {
        match self.woken.load(Ordering::Acquire) {
            0 => None,
            w if w == Wait::Answer as u8 => Some("NOTIFY_REQUEST_FINISH"),
            _ => Some("an interrupt"),
        }
    }

    /// Tells it to stop, wherever it is.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.kick();
    }

    /// Has it leave the guest, or its sleep, and look at what there is.
    pub fn kick(&self) {
        if self.is_active() {
            cpu::kick(self.cpu());
        }
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn signal(&self, bits: u32) {
        self.signals.fetch_or(bits, Ordering::AcqRel);
        self.kick();
    }

    /// Sends an NMI.
    pub fn send_nmi(&self) {
        self.signal(NMI);
    }

    /// Sends INIT.
    pub fn send_init(&self) {
        self.signal(INIT);
    }

    /// Sends a start-up IPI.
    pub fn send_startup(&self, page: u8) {
        self.signal(SIPI | u32::from(page) << SIPI_PAGE_SHIFT);
    }

    /// NOTIFY_REQUEST_FINISH.
    pub fn finish_request(&self) {
        let latched = self.finished.swap(true, Ordering::AcqRel);
        if !latched {
            self.wake(Wait::Answer);
        }
        self.kick();
    }

    /// Takes the latched NOTIFY_REQUEST_FINISH.
    pub fn take_finished(&self) -> bool {
        self.finished.swap(false, Ordering::AcqRel)
    }
}

fn power_on(cx: &mut Context) {
    vcpu_state::power_on(&mut cx.vmcb.save);
    *cx.gprs() = Gprs::default();
    cx.gprs().0[RDX] = RESET_EDX;
    cx.reset_fpu();
    cx.inject(Event::NONE);
}

/// Runs the vCPU that `task` names until it is stopped.
pub fn run_task(task: u32) {
    let id = (task & 0xFF) as usize;
    let Ok(vm) = vm::get(u64::from(task >> 8 & 0xFFFF)) else { return };
    let vcpu = &vm.vcpus()[id];
    lapic::quiesce();
    svm::reset_extended_state();
    run(vm, vcpu, id, &mut vcpu.context.lock());
    lapic::quiesce();
    vcpu.active.store(false, Ordering::Release);
}

fn run(vm: &Vm, vcpu: &Vcpu, id: usize, cx: &mut Context) {
    cx.load();
    let mut shut_down = false;
    while !vcpu.is_stopping() {
        if vcpu.is_paused() {
            let halted = !vcpu.parked.load(Ordering::Acquire) && is_behind_halt(vm, cx);
            vcpu.stand(if halted { Wait::Interrupt } else { Wait::Nothing });
            continue;
        }
        if take_signals(vcpu, cx) {
            shut_down = false;
            continue;
        }
        if vcpu.parked.load(Ordering::Acquire) {
            vcpu.sleep();
            continue;
        }
        let next = if shut_down {
            // As on ACRN again and again, until the VM is paused.
            ioio::power_off(vm, vcpu, id)
        } else {
            cx.leave_out(vcpu.slept.swap(0, Ordering::Relaxed));
            cx.enter();
            handle(vm, vcpu, id, cx)
        };
        match next {
            Next::Run => {}
            Next::Stop => break,
            Next::ShutDown => {
                log!("VM {} vCPU {id}: triple fault at {:#x}", vm.id, cx.vmcb.save.rip);
                shut_down = true;
            }
            Next::Fail => {
                fail(vm, id, cx);
                while !vcpu.is_stopping() {
                    if vcpu.is_paused() { vcpu.stand(Wait::Nothing) } else { vcpu.sleep() }
                }
            }
        }
    }
}

/// Whether the vCPU, which was kicked out of the guest, halts there: HLT is not intercepted, because an interrupt
/// ends it without mini-ACRN.
fn is_behind_halt(vm: &Vm, cx: &Context) -> bool {
    const HLT: u64 = 0xF4;
    let (control, save) = (&cx.vmcb.control, &cx.vmcb.save);
    let before = save.linear_rip().wrapping_sub(1);
    control.exit_code == exit::NMI && user_memory::read_linear(vm, save, before, 1) == Ok(HLT)
}

/// Returns whether it opened the global interrupt flag: a kick may have come then, and is taken.
fn take_signals(vcpu: &Vcpu, cx: &mut Context) -> bool {
    let signals = vcpu.signals.swap(0, Ordering::AcqRel);
    if signals & INIT != 0 {
        power_on(cx);
        lapic::quiesce();
        vcpu.parked.store(true, Ordering::Release);
    }
    if signals & SIPI != 0 && vcpu.parked.load(Ordering::Acquire) {
        vcpu_state::startup(&mut cx.vmcb.save, (signals >> SIPI_PAGE_SHIFT) as u8);
        cx.load();
        vcpu.parked.store(false, Ordering::Release);
    }
    if signals & NMI != 0 {
        if cx.has_event() {
            vcpu.signals.fetch_or(NMI, Ordering::AcqRel);
        } else {
            cx.inject(Event::NMI);
        }
    }
    signals & INIT != 0
}

fn handle(vm: &Vm, vcpu: &Vcpu, id: usize, cx: &mut Context) -> Next {
    match cx.vmcb.control.exit_code {
        exit::NMI => svm::acknowledge_nmi(),
        exit::CPUID => {
            let count = vm.vcpus().len() as u32;
            cpuid::exit(cx, Viewer::User { id: vcpu.apic_id().into(), count });
        }
        exit::MSR => msr::user_exit(cx, vm, id),
        exit::IOIO => return ioio::exit(vm, vcpu, id, cx),
        exit::NPF => return npf::exit(vm, vcpu, id, cx),
        exit::UD => {
            // VMCALL above ring 0 is #GP on ACRN, in whatever VM.
            let code = user_memory::fetch(vm, &cx.vmcb.save);
            let vmcall = code.bytes().starts_with(&[0x0F, 0x01, 0xC1]);
            let gp = vmcall && cx.vmcb.save.cpl != 0;
            cx.inject(if gp { Event::fault_with_code(GP, 0) } else { Event::fault(UD) });
        }
        exit::SHUTDOWN => return Next::ShutDown,
        exit::INVALID => return Next::Fail,
        // SVM's own instructions, MONITOR, MWAIT: a User VM has none.
        _ => cx.inject(Event::fault(UD)),
    }
    Next::Run
}

fn fail(vm: &Vm, id: usize, cx: &Context) {
    let (control, save) = (&cx.vmcb.control, &cx.vmcb.save);
    let code = user_memory::fetch(vm, save);
    log!(
        "VM {} vCPU {id} stopped: exit {:#x} ({:#x}, {:#x}) at {:#x}, code {:02x?}",
        vm.id,
        control.exit_code,
        control.exit_info1,
        control.exit_info2,
        save.rip,
        code.bytes()
    );
    trace::push(kind::VCPU_FAILED, vm.id, &[], |r| {
        (r.p1, r.p2, r.result) = (id as u64, control.exit_code, save.rip as i64);
    });
}

/// What became of an access to a device, and the value if it was read.
pub fn answered(reply: ioreq::Reply) -> core::result::Result<u64, Next> {
    match reply {
        ioreq::Reply::Done(value) => Ok(value),
        ioreq::Reply::Stopped => Err(Next::Stop),
        ioreq::Reply::Refused => Err(Next::Fail),
    }
}
