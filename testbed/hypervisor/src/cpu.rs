// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Physical CPUs: their owners and tasks.
//!
//! CPU n is the one with LAPIC id n + 1. The CPU with LAPIC id 0 boots mini-ACRN and then halts for
//! good, because QEMU (7.2 at least) cannot run guests on its first CPU while others run. When any
//! CPU loads x87 state, QEMU clears IGNNE# in the flags of its first CPU without a lock. It may
//! then restore flags that #VMEXIT or VMRUN changes at that moment: the global interrupt flag and
//! nested paging.

use crate::{lapic, time};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use x86_64::instructions::{hlt, interrupts};

/// Number of CPUs that mini-ACRN supports.
pub const MAX: usize = 15;
/// The CPU that boots the Service VM. The Service VM never gives it up.
pub const BOOT: usize = 0;
/// Time in milliseconds that SERVICE_VM_OFFLINE_CPU waits for the CPU.
const REMOVE_MS: u64 = 2000;

/// The owner of a CPU.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The machine has no such CPU.
    Absent,
    /// The Service VM.
    Service,
    /// No VM: a User VM may get it.
    Free,
    /// A User VM.
    User,
}

struct Cpu {
    online: AtomicBool,
    owner: AtomicU8,
    /// The Service VM has given the CPU up.
    removed: AtomicBool,
    /// The CPU runs the Service VM.
    runs_service: AtomicBool,
    /// The task of the CPU: 0 for none, otherwise a vCPU as [`crate::vcpu`] encodes it.
    task: AtomicU32,
}

static CPUS: [Cpu; MAX] = [const {
    Cpu {
        online: AtomicBool::new(false),
        owner: AtomicU8::new(Owner::Absent as u8),
        removed: AtomicBool::new(false),
        runs_service: AtomicBool::new(false),
        task: AtomicU32::new(0),
    }
}; MAX];

/// Returns whether CPU `id` belongs to `owner`.
pub fn is_owned_by(id: usize, owner: Owner) -> bool {
    CPUS.get(id).is_some_and(|c| c.owner.load(Ordering::Acquire) == owner as u8)
}

/// Returns whether the machine has no CPU `id`.
pub fn is_absent(id: usize) -> bool {
    id >= MAX || is_owned_by(id, Owner::Absent)
}

/// Returns the LAPIC id of CPU `id`.
pub fn lapic_id(id: usize) -> u8 {
    id as u8 + 1
}

/// Returns the CPU with the LAPIC id `lapic_id`.
pub fn with_lapic_id(lapic_id: usize) -> Option<usize> {
    lapic_id.checked_sub(1).filter(|id| *id < MAX)
}

/// Sets the owner of CPU `id`.
pub fn set_owner(id: usize, owner: Owner) {
    CPUS[id].owner.store(owner as u8, Ordering::Release);
}

fn change_owner(id: usize, from: Owner, to: Owner) -> bool {
    let (from, to) = (from as u8, to as u8);
    CPUS.get(id).is_some_and(|c| {
        c.owner.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    })
}

/// Allocates the CPUs `ids` to a User VM. Returns whether all of them were free; if not, it
/// allocates none.
pub fn allocate(ids: &[usize]) -> bool {
    let taken = ids.iter().take_while(|id| change_owner(**id, Owner::Free, Owner::User)).count();
    if taken < ids.len() {
        ids[..taken].iter().for_each(|id| set_owner(*id, Owner::Free));
    }
    taken == ids.len()
}

/// Claims CPU `id` for the Service VM. Returns whether the Service VM has it now: it had it before,
/// or the CPU was free and never given up.
pub fn claim_for_service(id: usize) -> bool {
    !is_removed(id)
        && (is_owned_by(id, Owner::Service) || change_owner(id, Owner::Free, Owner::Service))
}

/// Returns whether the Service VM has given CPU `id` up.
pub fn is_removed(id: usize) -> bool {
    CPUS[id].removed.load(Ordering::Acquire)
}

/// Returns the CPUs that are free for User VMs, bit n for CPU n.
pub fn free_mask() -> u32 {
    (0..MAX).filter(|i| is_owned_by(*i, Owner::Free)).fold(0, |m, i| m | 1 << i)
}

/// Sends CPU `id` an NMI, so that it leaves the guest or its sleep.
pub fn kick(id: usize) {
    lapic::send_nmi(lapic_id(id));
}

/// Records whether CPU `id` runs the Service VM.
pub fn set_runs_service(id: usize, runs: bool) {
    CPUS[id].runs_service.store(runs, Ordering::Release);
}

/// Makes CPU `id` examine the mailbox. The caller holds the lock of the mailbox.
///
/// A CPU that runs the Service VM examines the mailbox when it parks itself. It gets no NMI: the
/// Service VM would take it, which is fatal on the way to the reset vector.
pub fn wake_for_mailbox(id: usize) {
    if !CPUS[id].runs_service.load(Ordering::Acquire) {
        kick(id);
    }
}

/// Assigns `task`, which is not 0, to CPU `id`.
pub fn assign_task(id: usize, task: u32) {
    CPUS[id].task.store(task, Ordering::Release);
    kick(id);
}

/// Takes CPU `id` from the Service VM for good.
///
/// Returns when the CPU is parked, or after `REMOVE_MS`: a CPU that waits for this hypercall to
/// return parks itself later. Returns at once if the CPU is the caller's own.
pub fn take_from_service(id: usize) {
    CPUS[id].removed.store(true, Ordering::Release);
    if !is_owned_by(id, Owner::Service) {
        return;
    }
    kick(id);
    let end = time::now() + REMOVE_MS * u64::from(time::tsc_khz());
    while is_owned_by(id, Owner::Service) && lapic::id() != lapic_id(id) && time::now() < end {
        spin_loop();
    }
}

/// Takes the task of CPU `id`, 0 if there is none.
pub fn take_task(id: usize) -> u32 {
    CPUS[id].task.swap(0, Ordering::AcqRel)
}

/// Returns whether CPU `id` was started.
pub fn is_online(id: usize) -> bool {
    CPUS[id].online.load(Ordering::Acquire)
}

/// Marks CPU `id` as started.
pub fn set_online(id: usize) {
    CPUS[id].online.store(true, Ordering::Release);
}

/// Halts the current CPU for good.
pub fn halt() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}
