// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Physical CPUs: who has which, starting them, waking them.
//!
//! CPU n is the one with LAPIC id n + 1. The one with LAPIC id 0 boots mini-ACRN and then halts for good, because
//! QEMU (7.2 at least) can't run guests on its first CPU while others run: loading x87 state on any CPU
//! clears IGNNE# in the first one's flags, without a lock, and may put back the flags that #VMEXIT or VMRUN changes
//! at that moment (the global interrupt flag, nested paging).

use crate::{lapic, time};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use x86_64::instructions::{hlt, interrupts};

/// CPUs that mini-ACRN can deal with.
pub const MAX: usize = 15;
/// The one that boots the Service VM, which it never gives up.
pub const BOOT: usize = 0;
/// How long REMOVE_CPU waits.
const REMOVE_MS: u64 = 2000;

/// Who has a CPU.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It does not exist.
    Absent,
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
        owner: AtomicU8::new(Owner::Absent as u8),
        removed: AtomicBool::new(false),
        task: AtomicU32::new(0),
    }
}; MAX];

/// Whether CPU `id` belongs to `owner`.
pub fn is_owned_by(id: usize, owner: Owner) -> bool {
    CPUS.get(id).is_some_and(|c| c.owner.load(Ordering::Acquire) == owner as u8)
}

/// Whether the machine has no CPU `id`.
pub fn is_absent(id: usize) -> bool {
    id >= MAX || is_owned_by(id, Owner::Absent)
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
pub fn allocate(ids: &[usize]) -> bool {
    let taken = ids.iter().take_while(|id| change_owner(**id, Owner::Free, Owner::User)).count();
    if taken < ids.len() {
        ids[..taken].iter().for_each(|id| set_owner(*id, Owner::Free));
    }
    taken == ids.len()
}

/// Gives CPU `id` to the Service VM if that has it already, or nobody has it and it was not given up.
pub fn claim_for_service(id: usize) -> bool {
    !is_removed(id)
        && (is_owned_by(id, Owner::Service) || change_owner(id, Owner::Free, Owner::Service))
}

/// Whether the Service VM gave CPU `id` up.
pub fn is_removed(id: usize) -> bool {
    CPUS[id].removed.load(Ordering::Acquire)
}

/// CPUs free for User VMs, bit n for CPU n.
pub fn free_mask() -> u32 {
    (0..MAX).filter(|i| is_owned_by(*i, Owner::Free)).fold(0, |m, i| m | 1 << i)
}

/// Makes CPU `id` look at what there is to do.
pub fn kick(id: usize) {
    lapic::send_nmi(lapic_id(id));
}

/// Has CPU `id` run `task`, which is not 0.
pub fn assign_task(id: usize, task: u32) {
    CPUS[id].task.store(task, Ordering::Release);
    kick(id);
}

/// Takes CPU `id` away from the Service VM for good. Returns when it is parked; at once if it is the caller itself,
/// and after a while if it does not come: one that waits for this hypercall to end parks itself after that.
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

/// Takes what CPU `id` is to run; 0 for nothing.
pub fn take_task(id: usize) -> u32 {
    CPUS[id].task.swap(0, Ordering::AcqRel)
}

/// Whether CPU `id` was started.
pub fn is_online(id: usize) -> bool {
    CPUS[id].online.load(Ordering::Acquire)
}

/// Tells that CPU `id` was started.
pub fn set_online(id: usize) {
    CPUS[id].online.store(true, Ordering::Release);
}

/// Halts the CPU that runs this for good.
pub fn halt() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}
