// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Physical CPUs: who has which, starting them, waking them.
//!
//! CPU n is the one with LAPIC id n + 1. The one with LAPIC id 0 boots mini-ACRN and then halts for good, because
//! QEMU (7.2 at least) can't run guests on its first CPU while others run: loading x87 state on any CPU
//! clears IGNNE# in the first one's flags, without a lock, and may put back the flags that #VMEXIT or VMRUN changes
//! at that moment (the global interrupt flag, nested paging).

use crate::{lapic, log, phys, service, svm, time, vcpu};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use mini_acrn_logic::npt::PAGE;
use x86_64::instructions::{hlt, interrupts};

/// CPUs that mini-ACRN can deal with.
pub const MAX: usize = 15;
/// The one that boots the Service VM, which it never gives up.
pub const BOOT: usize = 0;
/// Page of low memory where CPUs start.
const TRAMPOLINE_PAGE: u8 = 8;

/// Who has a CPU.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It does not exist.
    None,
    /// The Service VM.
    Service,
    /// Nobody: a User VM may have it.
    Free,
    /// A User VM.
    User,
}

struct Cpu {
    online: AtomicBool,
    owner: AtomicU8,
    /// The Service VM gave it up.
    removed: AtomicBool,
    /// What it is to run: 0 for nothing, otherwise a vCPU as the `vcpu` module numbers them.
    task: AtomicU32,
}

static CPUS: [Cpu; MAX] = [const {
    Cpu {
        online: AtomicBool::new(false),
        owner: AtomicU8::new(Owner::None as u8),
        removed: AtomicBool::new(false),
        task: AtomicU32::new(0),
    }
}; MAX];

/// Whether CPU `id` belongs to `owner`.
pub fn is(id: usize, owner: Owner) -> bool {
    CPUS.get(id).is_some_and(|c| c.owner.load(Ordering::Acquire) == owner as u8)
}

/// Whether the machine has no CPU `id`.
pub fn is_absent(id: usize) -> bool {
    id >= MAX || is(id, Owner::None)
}

/// LAPIC id of CPU `id`.
pub fn lapic_id(id: usize) -> u8 {
    id as u8 + 1
}

/// The CPU with that LAPIC id.
pub fn with_lapic_id(lapic_id: usize) -> Option<usize> {
    lapic_id.checked_sub(1).filter(|id| *id < MAX)
}

/// Gives CPU `id` to `owner`.
pub fn set_owner(id: usize, owner: Owner) {
    CPUS[id].owner.store(owner as u8, Ordering::Release);
}

fn change_owner(id: usize, from: Owner, to: Owner) -> bool {
    let (from, to) = (from as u8, to as u8);
    CPUS.get(id).is_some_and(|c| {
        c.owner.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    })
}

/// Gives the CPUs `ids` to a User VM if nobody has them.
pub fn take(ids: &[usize]) -> bool {
    let taken = ids.iter().take_while(|id| change_owner(**id, Owner::Free, Owner::User)).count();
    if taken < ids.len() {
        ids[..taken].iter().for_each(|id| set_owner(*id, Owner::Free));
    }
    taken == ids.len()
}

/// Gives CPU `id` to the Service VM if that has it already, or nobody has it and it was not given up.
pub fn claim(id: usize) -> bool {
    !is_removed(id) && (is(id, Owner::Service) || change_owner(id, Owner::Free, Owner::Service))
}

/// The Service VM gives CPU `id` up for good.
pub fn remove(id: usize) {
    CPUS[id].removed.store(true, Ordering::Release);
}

/// Whether the Service VM gave CPU `id` up.
pub fn is_removed(id: usize) -> bool {
    CPUS[id].removed.load(Ordering::Acquire)
}

/// CPUs free for User VMs, bit n for CPU n.
pub fn free_mask() -> u32 {
    (0..MAX).filter(|i| is(*i, Owner::Free)).fold(0, |m, i| m | 1 << i)
}

/// Makes CPU `id` look at what there is to do.
pub fn kick(id: usize) {
    lapic::send_nmi(lapic_id(id));
}

/// Has CPU `id` run `task`, which is not 0.
pub fn assign(id: usize, task: u32) {
    CPUS[id].task.store(task, Ordering::Release);
    kick(id);
}

/// Runs what is assigned to CPU `id` until that is the Service VM's.
fn idle(id: usize) {
    loop {
        match CPUS[id].task.swap(0, Ordering::AcqRel) {
            0 if is(id, Owner::Service) => return,
            0 => svm::sleep(),
            task => vcpu::run_task(task),
        }
    }
}

/// Halts the CPU that runs this for good.
pub fn halt() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}

// SAFETY: defined in this crate's assembly, with these signatures.
unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    static idt: [u128; 256];
    static gate_targets: [u64; 256];
}

/// Fills the interrupt descriptor table that all CPUs use. Called once, before other CPUs run.
pub fn init_idt() {
    // SAFETY: `gate_targets` is a constant table of 256 addresses in `interrupt.s`.
    let targets = unsafe { &gate_targets };
    for (i, target) in targets.iter().enumerate() {
        let t = u128::from(*target);
        // Selector 8, interrupt gate, present.
        let gate =
            (t & 0xFFFF) | 0x8 << 16 | 0x8E00 << 32 | (t >> 16 & 0xFFFF) << 48 | (t >> 32) << 64;
        // SAFETY: entry `i` of the table that `interrupt.s` reserves; no other CPU runs yet.
        unsafe { (&raw const idt).cast_mut().cast::<u128>().add(i).write(gate) };
    }
}

/// Starts all CPUs of which the LAPIC ids are in `lapic_ids`, except the one that runs this.
pub fn start_others(lapic_ids: &[u8]) {
    let (start, end) = (&raw const trampoline_start, &raw const trampoline_end);
    // SAFETY: both symbols delimit the trampoline in `boot.s`.
    let code = unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) };
    phys::write_bytes(u64::from(TRAMPOLINE_PAGE) * PAGE, code).expect("low memory is RAM");
    for id in lapic_ids.iter().filter_map(|lapic_id| with_lapic_id((*lapic_id).into())) {
        lapic::send_init(lapic_id(id));
        time::delay_us(1000);
        lapic::send_sipi(lapic_id(id), TRAMPOLINE_PAGE);
        // Seconds, because on a busy machine the thread that runs this CPU may have to wait.
        let end = time::now() + 10_000 * u64::from(time::tsc_khz());
        while !CPUS[id].online.load(Ordering::Acquire) {
            if time::now() > end {
                log!("CPU {id} does not start");
                break;
            }
            spin_loop();
        }
    }
}

/// Where all CPUs but the first arrive.
#[unsafe(no_mangle)]
extern "C" fn ap_main(lapic_id: u32) -> ! {
    let n = with_lapic_id(lapic_id as usize).expect("only these are started");
    svm::enable(n);
    lapic::quiesce();
    set_owner(n, if n == BOOT { Owner::Service } else { Owner::Free });
    CPUS[n].online.store(true, Ordering::Release);
    if n == BOOT {
        service::run_boot();
    }
    loop {
        idle(n);
        service::run_secondary(n);
        set_owner(n, Owner::Free);
    }
}
