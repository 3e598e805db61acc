// SPDX-License-Identifier: GPL-2.0

//! The memory that the hypervisor maps into a VM. All changes to it are made here, one at a time.

use super::page_range::GuestRange;
use crate::{
    abstractions::sched::cond_resched,
    hypercall::{
        MemoryRegion,
        RegionBatch,
        VmId, //
    }, //
};
use core::iter;
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Whether an id names the VM.
#[derive(PartialEq, Eq)]
enum IdState {
    Valid,
    /// DESTROY_VM failed, but the hypervisor may have destroyed the VM all the same, and may give
    /// the id to another VM at any time.
    Doubtful,
    /// The VM was destroyed, and the id may name another VM.
    Stale,
}

/// The hypervisor's mappings of a VM.
///
/// The kernel takes the lock of this where the mapping of a process changes. So under the lock no
/// memory may be allocated, and the mmap lock must not be taken.
pub(super) struct Regions {
    id: IdState,
    /// Allocated in advance, because memory cannot be allocated under the lock.
    removal: RegionBatch,
}

impl Regions {
    /// The most missing pages in a range that is unmapped. Each costs several hypercalls.
    const MAX_MISSING: usize = 4096;

    /// Creates the mappings of a new VM.
    pub(super) fn new(vm: VmId) -> Result<Arc<Mutex<Self>>> {
        let removal = RegionBatch::with_room_for(vm, 1)?;
        Arc::pin_init(
            new_mutex!(
                Self {
                    id: IdState::Valid,
                    removal,
                },
                "acrn_regions"
            ),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Runs `destroy`. If it succeeds, there are no mappings any more, and the VM's id may name
    /// another VM.
    pub(super) fn destroy_with<T>(&mut self, destroy: impl FnOnce() -> Result<T>) -> Result<T> {
        let result = destroy();
        match &result {
            Ok(_) => self.id = IdState::Stale,
            Err(error) if *error == EPERM => {}
            Err(_) => self.id = IdState::Doubtful,
        }
        result
    }

    /// Fails with `ENODEV` if the VM was destroyed.
    pub(super) fn check_id(&self) -> Result {
        match self.id {
            IdState::Valid | IdState::Doubtful => Ok(()),
            IdState::Stale => Err(ENODEV),
        }
    }

    /// Fails with `ENODEV` if the VM was destroyed, or may have been: memory must not go to another
    /// VM with the id.
    pub(super) fn check_may_add(&self) -> Result {
        match self.id {
            IdState::Valid => Ok(()),
            IdState::Doubtful | IdState::Stale => Err(ENODEV),
        }
    }

    /// Maps memory, as [`RegionBatch::apply`]. Fails as [`Self::check_may_add`].
    pub(super) fn add<'a>(
        &mut self,
        batch: &mut RegionBatch,
        additions: impl Iterator<Item = MemoryRegion<'a>>,
    ) -> Result {
        self.check_may_add()?;
        batch.apply(additions)
    }

    /// Maps a single region at `guest`, as [`Self::add`]. If that fails, unmaps what the hypervisor
    /// may have mapped before it failed.
    ///
    /// ACRN checks a region before it maps any of it (`set_vm_memory_region()`). So after `EPERM`
    /// or `EINVAL` there may only be mappings of others, such as the BAR of a device.
    pub(super) fn add_or_undo(
        &mut self,
        batch: &mut RegionBatch,
        guest: GuestRange,
        region: MemoryRegion<'_>,
    ) -> Result<(), (Error, RollBack)> {
        self.check_may_add()
            .map_err(|error| (error, RollBack::Done))?;
        self.add(batch, iter::once(region))
            .map_err(|error| match error {
                EPERM | EINVAL => (error, RollBack::Done),
                _ => (error, self.undo(iter::once(guest)).into()),
            })
    }

    /// Unmaps `guest`.
    ///
    /// Fails with `EINVAL`, and unmaps nothing, if a page of it is not mapped; with `ENODEV` if the
    /// VM was destroyed.
    pub(super) fn delete(&mut self, guest: GuestRange) -> Result {
        self.check_id()?;
        let region = MemoryRegion::delete(guest.start(), guest.len());
        self.removal.apply(iter::once(region))
    }

    /// Unmaps `guest`. Returns false, and unmaps nothing, if a page of it is not mapped.
    fn delete_whole(&mut self, guest: GuestRange) -> Result<bool> {
        match self.delete(guest) {
            Ok(()) => Ok(true),
            Err(error) if error == EINVAL => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Unmaps all pages of `guest` that are mapped, however many are missing.
    pub(super) fn clear_all(&mut self, guest: GuestRange) -> Result {
        self.clear_from(guest, guest.len(), || Ok(OnMissing::Continue))
    }

    /// Unmaps all pages of `guest` that are mapped.
    ///
    /// Fails with `EIO` if more than [`Self::MAX_MISSING`] pages are missing.
    pub(super) fn clear(&mut self, guest: GuestRange) -> Result {
        // A guest may move the memory of devices that the hypervisor emulates, which unmaps pages.
        let mut missing = 0;
        self.clear_from(guest, guest.len(), || {
            missing += 1;
            if missing > Self::MAX_MISSING {
                return Err(EIO);
            }
            Ok(OnMissing::Continue)
        })
    }

    /// Unmaps the pages at the beginning of `guest`, up to the first page that is not mapped.
    fn clear_first(&mut self, guest: GuestRange) -> Result {
        self.clear_from(guest, PAGE_SIZE as u64, || Ok(OnMissing::Stop))
    }

    /// Unmaps `guest` in parts: of `len` bytes at first, then of twice or half as many. So a
    /// missing page costs a number of hypercalls that is logarithmic in the length.
    fn clear_from(
        &mut self,
        guest: GuestRange,
        len: u64,
        mut on_missing: impl FnMut() -> Result<OnMissing>,
    ) -> Result {
        if self.id == IdState::Stale {
            return Ok(());
        }
        let (mut left, mut len) = (Some(guest), len);
        while let Some(range) = left {
            let (part, rest) = range.split_first(len);
            if self.delete_whole(part)? {
                left = rest;
                len = part.len().saturating_mul(2);
            } else if part.len() > PAGE_SIZE as u64 {
                len = part.len() / 2;
            } else {
                match on_missing()? {
                    OnMissing::Continue => left = rest,
                    OnMissing::Stop => return Ok(()),
                }
            }
            cond_resched();
        }
        Ok(())
    }

    /// Unmaps the parts of `parts` that the hypervisor mapped before it failed. It mapped them in
    /// order.
    ///
    /// The parts that follow the one for which it failed are not mapped. If the beginning of that
    /// one is mapped, this unmaps it as well.
    pub(super) fn undo(&mut self, parts: impl Iterator<Item = GuestRange>) -> Result {
        if self.id == IdState::Stale {
            return Ok(());
        }
        for part in parts {
            if !self.delete_whole(part)? && part.len() > PAGE_SIZE as u64 {
                self.clear_first(part)?;
            }
            cond_resched();
        }
        Ok(())
    }
}

/// Whether memory that was mapped before a failure could be unmapped.
pub(super) enum RollBack {
    /// The hypervisor had mapped none of it. Only the mapping of pinned memory tells this from
    /// [`Self::Done`].
    NotNeeded,
    Done,
    Failed,
}

impl From<Result> for RollBack {
    fn from(undone: Result) -> Self {
        match undone {
            Ok(()) => Self::Done,
            Err(_) => Self::Failed,
        }
    }
}

/// The reaction to a page that is not mapped.
enum OnMissing {
    Continue,
    Stop,
}
