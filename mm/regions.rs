// SPDX-License-Identifier: GPL-2.0

//! What the hypervisor maps into a VM. All changes to it are made here, one after the other.

use super::page_range::PageRange;
use crate::{
    abstractions::sched::cond_resched,
    hypercall::{
        MemoryRegion,
        RegionChange,
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

/// Whether a VM's id is still that of the VM.
#[derive(PartialEq, Eq)]
enum Life {
    Lasting,
    Ended,
}

/// The hypervisor's mappings of one VM. Under its lock no memory may be allocated, and the mmap lock
/// not be taken: it is needed where mappings of a process change.
pub(super) struct Regions {
    life: Life,
    /// Made beforehand: where it is needed, memory cannot be allocated.
    removal: RegionChange,
}

impl Regions {
    /// Pages that may be missing in a range that is taken away. More than that would be a hypercall for
    /// each of them, for ever.
    const MAX_MISSING: usize = 4096;

    /// Those of a new VM.
    pub(super) fn new(vm: VmId) -> Result<Arc<Mutex<Self>>> {
        let removal = RegionChange::with_room_for(vm, 1)?;
        Arc::pin_init(
            new_mutex!(
                Self {
                    life: Life::Lasting,
                    removal,
                },
                "acrn_regions"
            ),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Runs `destroy`. After success there are no mappings, and the VM's id may be another's.
    pub(super) fn end_with<T>(&mut self, destroy: impl FnOnce() -> Result<T>) -> Result<T> {
        let proof = destroy()?;
        self.life = Life::Ended;
        Ok(proof)
    }

    /// `ENODEV` for a VM that has ended.
    pub(super) fn must_last(&self) -> Result {
        match self.life {
            Life::Lasting => Ok(()),
            Life::Ended => Err(ENODEV),
        }
    }

    /// Maps more, as [`RegionChange::carry_out`]. `ENODEV` for a VM that has ended.
    pub(super) fn add<'a>(
        &mut self,
        room: &mut RegionChange,
        additions: impl Iterator<Item = MemoryRegion<'a>>,
    ) -> Result {
        self.must_last()?;
        room.carry_out(additions)
    }

    /// Has the hypervisor delete `guest`, which it refuses (`EINVAL`) if a page is not mapped. `ENODEV` for
    /// a VM that has ended.
    pub(super) fn delete(&mut self, guest: PageRange) -> Result {
        self.must_last()?;
        let region = MemoryRegion::delete(guest.start(), guest.len());
        self.removal.carry_out(iter::once(region))
    }

    /// Deletes `guest`. False if a page of it is not mapped, and so nothing was deleted.
    fn delete_whole(&mut self, guest: PageRange) -> Result<bool> {
        match self.delete(guest) {
            Ok(()) => Ok(true),
            Err(error) if error == EINVAL => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes away whatever is mapped at `guest`. After success nothing is.
    ///
    /// Fails with `EIO` if more than a few thousand pages are missing.
    pub(super) fn clear(&mut self, guest: PageRange) -> Result {
        // A guest may move the memory of devices that the hypervisor plays: a page can have gone with that,
        // and the rest be there.
        let mut missing = 0;
        self.clear_from(guest, guest.len(), || {
            missing += 1;
            if missing > Self::MAX_MISSING {
                return Err(EIO);
            }
            Ok(Missing::GoOn)
        })
    }

    /// Takes away what is mapped at the beginning of `guest`, up to the first page that is not.
    fn clear_first(&mut self, guest: PageRange) -> Result {
        self.clear_from(guest, PAGE_SIZE as u64, || Ok(Missing::Stop))
    }

    /// Takes away `guest`, `len` bytes at first, then twice or half as many, so that a missing page costs
    /// hypercalls by the logarithm of the size.
    fn clear_from(
        &mut self,
        guest: PageRange,
        len: u64,
        mut missing: impl FnMut() -> Result<Missing>,
    ) -> Result {
        if self.life == Life::Ended {
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
                match missing()? {
                    Missing::GoOn => left = rest,
                    Missing::Stop => return Ok(()),
                }
            }
            cond_resched();
        }
        Ok(())
    }

    /// Takes away what the hypervisor mapped of `parts`, in whose order it went until it failed.
    ///
    /// It has not touched what is behind the part that it failed for. If it has all the same the beginning of
    /// such a part is there, and that goes as well.
    pub(super) fn undo(&mut self, parts: impl Iterator<Item = PageRange>) -> Result {
        if self.life == Life::Ended {
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

/// What to do about a page that is not mapped.
enum Missing {
    GoOn,
    Stop,
}
