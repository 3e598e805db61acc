// SPDX-License-Identifier: GPL-2.0

//! What the hypervisor maps into a VM. All changes to it are made here, one after the other.

use super::PageRange;
use crate::hypercall::{
    MemoryRegion,
    RegionChange,
    VmId, //
};
use core::iter;
use kernel::{
    new_mutex,
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
            GFP_KERNEL,
        )
    }

    /// Runs `destroy`. After success there are no mappings, and the VM's id may be another's.
    pub(super) fn end_with(&mut self, destroy: impl FnOnce() -> Result) -> Result {
        destroy()?;
        self.life = Life::Ended;
        Ok(())
    }

    /// Maps more, as [`RegionChange::carry_out`].
    pub(super) fn add(&mut self, addition: &RegionChange) -> Result {
        addition.carry_out()
    }

    /// Has the hypervisor delete `guest`, which it refuses (`EINVAL`) if a page is not mapped.
    pub(super) fn delete(&mut self, guest: PageRange) -> Result {
        let region = MemoryRegion::delete(guest.start, guest.len);
        self.removal.refill(iter::once(region))?;
        self.removal.carry_out()
    }

    /// Takes away whatever is mapped at `guest`. After success nothing is.
    pub(super) fn clear(&mut self, guest: PageRange) -> Result {
        if self.life == Life::Ended {
            return Ok(());
        }
        let refused = |result| matches!(result, Err(error) if error == EINVAL);
        let whole = self.delete(guest);
        if !refused(whole) {
            return whole;
        }
        // Segments may overlap, and a guest may move its devices' memory: a page can have gone with
        // another, and the rest be there.
        for page in guest.pages() {
            let deleted = self.delete(page);
            if !refused(deleted) {
                deleted?;
            }
        }
        Ok(())
    }
}
