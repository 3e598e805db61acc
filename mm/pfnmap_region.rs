// SPDX-License-Identifier: GPL-2.0

//! Memory without counted pages, such as that of a device, in a User VM.
//!
//! Nothing can pin it. So the VM has it for as long as the device model has it mapped: when that changes,
//! be it by `munmap` or by the driver that the memory is of, it is taken away from the VM before.
//!
//! It cannot wait either, as pins do that are parked. By old translations a vCPU that runs may reach it
//! until that vCPU next leaves the guest, and a passed-through device until it is de-assigned.

use super::{
    page_range::PageRange,
    regions::Regions, //
};
use crate::{
    abstractions::{
        mmu_interval_notifier::{
            Found,
            MmWatch,
            Watcher, //
        },
        ratelimit::pr_err_ratelimited,
        sched::cond_resched, //
    },
    hypercall::{
        AccessRights,
        MemoryRegion,
        RegionChange,
        VmId, //
    },
};
use core::iter;
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

/// Bytes of RAM that a VM has.
pub(super) type MappedBytes = Arc<Atomic<u64>>;

struct Use {
    vm: VmId,
    total: MappedBytes,
    /// Where the VM has it: one range at first, of which parts may be taken away.
    parts: LockedBy<KVVec<PageRange>, Regions>,
}

impl Use {
    /// Takes away the parts that `of` does not keep.
    fn take_away(&self, regions: &mut Regions, is_kept: impl Fn(PageRange) -> bool) -> Result {
        let mut index = 0;
        while let Some(&part) = self.parts.access(regions).get(index) {
            if is_kept(part) {
                index += 1;
                continue;
            }
            regions.clear(part)?;
            let _ = self.parts.access_mut(regions).remove(index);
            self.total.fetch_sub(part.len(), ordering::Relaxed);
            cond_resched();
        }
        Ok(())
    }
}

impl Watcher for Use {
    type State = Regions;

    fn stop(&self, regions: &mut Regions) {
        if let Err(error) = self.take_away(regions, |_| false) {
            pr_err_ratelimited!(
                "VM {}: keeps memory that is not the device model's any more: {:?}\n",
                self.vm,
                error
            );
        }
    }
}

/// Memory of a `VM_PFNMAP` area, watched, that a VM may have. Dropping it takes it away.
pub(super) struct PfnMapping(Pin<KBox<MmWatch<Use>>>);

impl PfnMapping {
    /// Watches `pages` pages from the user address `start`, which the VM does not have yet.
    pub(super) fn new(
        vm: VmId,
        regions: &Arc<Mutex<Regions>>,
        total: &MappedBytes,
        start: usize,
        pages: usize,
    ) -> Result<Self> {
        let parts = KVVec::with_capacity(1, GFP_KERNEL_ACCOUNT)?;
        let usage = Use {
            vm,
            total: total.clone(),
            parts: LockedBy::new(regions, parts),
        };
        MmWatch::new(start, pages, regions.clone(), usage).map(Self)
    }

    /// Looks at what the memory is. Fails as [`MmWatch::look_up`].
    pub(super) fn look_up(&self, rights: AccessRights) -> Result<Look<'_>> {
        self.0.look_up(rights.may_write()).map(Look)
    }

    /// Whether the VM has it at `guest`.
    pub(super) fn is_mapped(&self, guest: PageRange) -> bool {
        self.0
            .with(|usage, regions| usage.parts.access(regions).contains(&guest))
    }

    /// Makes two parts of the one that has `address` inside, so that each can be taken away by itself.
    pub(super) fn split_at(&self, address: u64) -> Result {
        let count = self
            .0
            .with(|usage, regions| usage.parts.access(regions).len());
        // Not under the lock. Meanwhile there can only be less: parts are made under another one.
        let mut parts = KVVec::with_capacity(count + 1, GFP_KERNEL_ACCOUNT)?;
        let old = self.0.with(|usage, regions| {
            let current = usage.parts.access_mut(regions);
            for &part in current.iter() {
                let pieces = match part.split_at(address) {
                    Some((first, second)) => [Some(first), Some(second)],
                    None => [Some(part), None],
                };
                for piece in pieces.into_iter().flatten() {
                    parts.push_within_capacity(piece).map_err(|_| EINVAL)?;
                }
            }
            Ok(core::mem::replace(current, parts))
        });
        old.map(drop)
    }

    /// Takes the part `guest` away from the VM, if the VM has it.
    pub(super) fn unmap(&self, guest: PageRange) -> Result {
        self.0
            .with(|usage, regions| usage.take_away(regions, |part| part != guest))
    }
}

impl Drop for PfnMapping {
    fn drop(&mut self) {
        self.0.with(|usage, regions| usage.stop(regions));
    }
}

/// What such memory was when it was looked at.
pub(super) struct Look<'a>(Found<'a, Use>);

impl Look<'_> {
    /// Maps all of it at `guest`, unless it has changed since.
    pub(super) fn map(
        &self,
        room: &mut RegionChange,
        guest: PageRange,
        rights: AccessRights,
    ) -> Option<Result> {
        self.0.commit(|usage, regions, pfns| {
            let region = MemoryRegion::add_pfns(guest.start(), &pfns, rights);
            regions.add(room, iter::once(region))?;
            // There is room for one part.
            let _ = usage.parts.access_mut(regions).push_within_capacity(guest);
            usage.total.fetch_add(guest.len(), ordering::Relaxed);
            Ok(())
        })
    }
}
