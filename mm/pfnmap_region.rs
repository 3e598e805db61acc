// SPDX-License-Identifier: GPL-2.0

//! Memory without counted pages, such as that of a device, in a User VM.
//!
//! Such memory cannot be pinned. So the VM has it only as long as the device model has it mapped:
//! before that mapping changes, by `munmap` or by the driver that owns the memory, an MMU interval
//! notifier unmaps it from the VM.
//!
//! Unlike pins, such memory cannot be parked. Through stale translations a running vCPU may access
//! it until it next leaves the guest, and a passed-through device until it is deassigned.

use super::{
    page_range::GuestRange,
    regions::{
        Regions,
        RollBack, //
    },
};
use crate::{
    abstractions::{
        mmu_interval_notifier::{
            Followed,
            Invalidate,
            MmuIntervalNotifier, //
        },
        ratelimit::pr_err_ratelimited,
        sched::cond_resched, //
    },
    hypercall::{
        AccessRights,
        GuestPhys,
        MemoryRegion,
        RegionBatch,
        VmId, //
    },
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc,
        LockedBy,
        Mutex, //
    },
};

/// The number of bytes of RAM that a VM has.
pub(super) type MappedBytes = Arc<Atomic<u64>>;

/// The guest ranges that map the memory of one notifier.
struct NotifiedRegion {
    vm: VmId,
    mapped: MappedBytes,
    /// A single range at first, of which parts may be unmapped.
    parts: LockedBy<KVVec<GuestRange>, Regions>,
}

impl NotifiedRegion {
    /// Unmaps the parts for which `is_kept` is false.
    ///
    /// Tries all of them. Fails with the address of the first one that cannot be unmapped, and the
    /// error.
    fn unmap(
        &self,
        regions: &mut Regions,
        is_kept: impl Fn(GuestRange) -> bool,
    ) -> Result<(), (GuestPhys, Error)> {
        let (mut index, mut result) = (0, Ok(()));
        while let Some(&part) = self.parts.access(regions).get(index) {
            if is_kept(part) {
                index += 1;
                continue;
            }
            // A guest can unmap any number of pages. The process loses the rest all the same, so it
            // has to be found.
            if let Err(error) = regions.clear_all(part) {
                result = result.and(Err((part.start(), error)));
                index += 1;
                continue;
            }
            let _ = self.parts.access_mut(regions).remove(index);
            self.mapped.fetch_sub(part.len(), ordering::Relaxed);
            cond_resched();
        }
        result
    }
}

// SAFETY: `invalidate` requests that the hypervisor unmaps all parts, which have all of the memory.
unsafe impl Invalidate for NotifiedRegion {
    type State = Regions;

    fn invalidate(&self, regions: &mut Regions) {
        if let Err((guest, error)) = self.unmap(regions, |_| false) {
            pr_err_ratelimited!(
                "VM {}: cannot unmap memory at {} that the device model unmaps: {:?}\n",
                self.vm,
                guest,
                error
            );
        }
    }
}

/// Memory of a `VM_PFNMAP` area that a VM may have. Dropping this unmaps it from the VM.
pub(super) struct PfnmapRegion(Pin<KBox<MmuIntervalNotifier<NotifiedRegion>>>);

impl PfnmapRegion {
    /// Inserts a notifier for `pages` pages from the user address `start` on. The VM does not have
    /// them yet.
    pub(super) fn new(
        vm: VmId,
        regions: &Arc<Mutex<Regions>>,
        mapped: &MappedBytes,
        start: usize,
        pages: usize,
    ) -> Result<Self> {
        let parts = KVVec::with_capacity(1, GFP_KERNEL_ACCOUNT)?;
        let region = NotifiedRegion {
            vm,
            mapped: mapped.clone(),
            parts: LockedBy::new(regions, parts),
        };
        MmuIntervalNotifier::new(start, pages, regions.clone(), region).map(Self)
    }

    /// Returns the physical memory, as [`MmuIntervalNotifier::follow_pfnmap`].
    pub(super) fn follow(&self, rights: AccessRights) -> Result<FollowedRegion<'_>> {
        self.0.follow_pfnmap(rights.may_write()).map(FollowedRegion)
    }

    /// Returns whether the VM has the memory at `guest`.
    pub(super) fn is_mapped(&self, guest: GuestRange) -> bool {
        self.0
            .with(|region, regions| region.parts.access(regions).contains(&guest))
    }

    /// Splits the part that has `address` inside, so that each half can be unmapped by itself.
    pub(super) fn split_at(&self, address: GuestPhys) -> Result {
        let count = self
            .0
            .with(|region, regions| region.parts.access(regions).len());
        // Not under the lock. The number can only decrease meanwhile: the lock of the mappings
        // serialises splits.
        let mut parts = KVVec::with_capacity(count + 1, GFP_KERNEL_ACCOUNT)?;
        let old = self.0.with(|region, regions| {
            let current = region.parts.access_mut(regions);
            for &part in current.iter() {
                let halves = match part.split_at(address) {
                    Some((first, second)) => [Some(first), Some(second)],
                    None => [Some(part), None],
                };
                for half in halves.into_iter().flatten() {
                    parts.push_within_capacity(half).map_err(|_| EINVAL)?;
                }
            }
            Ok(core::mem::replace(current, parts))
        });
        old.map(drop)
    }

    /// Unmaps the part `guest` from the VM, if the VM has it.
    pub(super) fn unmap(&self, guest: GuestRange) -> Result {
        self.0
            .with(|region, regions| region.unmap(regions, |part| part != guest))
            .map_err(|(_, error)| error)
    }
}

impl Drop for PfnmapRegion {
    fn drop(&mut self) {
        self.0.with(|region, regions| region.invalidate(regions));
    }
}

/// The physical memory of a [`PfnmapRegion`] at one time.
pub(super) struct FollowedRegion<'a>(Followed<'a, NotifiedRegion>);

impl FollowedRegion<'_> {
    /// Maps all of it at `guest`, as [`Regions::add_or_undo`]. Returns `None` if it has changed
    /// meanwhile.
    pub(super) fn map(
        &self,
        batch: &mut RegionBatch,
        guest: GuestRange,
        rights: AccessRights,
    ) -> Option<Result<(), (Error, RollBack)>> {
        self.0.commit(|region, regions, pfns| {
            let parts = region.parts.access_mut(regions);
            parts
                .push_within_capacity(guest)
                .map_err(|_| (EINVAL, RollBack::Done))?;
            let addition = MemoryRegion::add_pfns(guest.start(), &pfns, rights);
            let mapped = regions.add_or_undo(batch, guest, addition);
            if matches!(mapped, Err((_, RollBack::Done))) {
                let _ = region.parts.access_mut(regions).pop();
            } else {
                region.mapped.fetch_add(guest.len(), ordering::Relaxed);
            }
            mapped
        })
    }
}
