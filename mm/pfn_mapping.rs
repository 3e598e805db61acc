// SPDX-License-Identifier: GPL-2.0

//! Memory without counted pages, such as that of a device, in a User VM.
//!
//! Nothing can pin it. So the VM has it for as long as the device model has it mapped: when that changes,
//! be it by `munmap` or by the driver that the memory is of, it is taken away from the VM before.

use super::{
    regions::Regions,
    PageRange, //
};
use crate::{
    abstractions::{
        log::pr_err_ratelimited,
        mm_watch::{
            MmWatch,
            Watcher, //
        },
        pfn_map,
    },
    hypercall::{
        MemoryRegion,
        RegionChange,
        VmId, //
    },
    uapi,
};
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
};

struct Use {
    vm: VmId,
    guest: PageRange,
    regions: Arc<Mutex<Regions>>,
    /// Changes under the lock of `regions`.
    mapped: Atomic<bool>,
}

impl Use {
    fn take_away(&self, regions: &mut Regions) -> Result {
        if self.mapped.load(ordering::Relaxed) {
            regions.clear(self.guest)?;
            self.mapped.store(false, ordering::Relaxed);
        }
        Ok(())
    }
}

impl Watcher for Use {
    type State = Regions;

    fn lock(&self) -> &Mutex<Regions> {
        &self.regions
    }

    fn stop(&self, regions: &mut Regions) {
        if let Err(error) = self.take_away(regions) {
            pr_err_ratelimited!(
                "VM {}: keeps memory that is not the device model's any more: {:?}\n",
                self.vm,
                error
            );
        }
    }
}

/// Memory of a `VM_PFNMAP` area, mapped into a VM. Dropping it takes it away.
pub(super) struct PfnMapping(Pin<KBox<MmWatch<Use>>>);

impl PfnMapping {
    /// Maps `pages` pages from the user address `start`. Fails as [`pfn_map::look_up`].
    pub(super) fn new(
        vm: VmId,
        regions: &Arc<Mutex<Regions>>,
        start: usize,
        pages: usize,
        guest: PageRange,
        access: u32,
    ) -> Result<Self> {
        let watch = MmWatch::new(
            start,
            pages * PAGE_SIZE,
            Use {
                vm,
                guest,
                regions: regions.clone(),
                mapped: Atomic::new(false),
            },
        )?;
        let write = access & uapi::ACRN_MEM_ACCESS_WRITE != 0;
        loop {
            let begun = watch.begin();
            let pfn = pfn_map::look_up(start, pages, write)?.ok_or(EFAULT)?;
            let region = MemoryRegion::add(
                guest.start,
                pfn << PAGE_SHIFT,
                guest.len,
                uapi::ACRN_MEM_TYPE_WB | access,
            );
            let addition = RegionChange::single(vm, region)?;
            let added = watch.commit(begun, |usage, regions| {
                regions.add(&addition)?;
                usage.mapped.store(true, ordering::Relaxed);
                Ok(())
            });
            if let Some(result) = added {
                return result.map(|()| Self(watch));
            }
        }
    }

    /// Whether the VM has it.
    pub(super) fn is_mapped(&self) -> bool {
        self.0.watcher().mapped.load(ordering::Relaxed)
    }

    /// Takes it away from the VM, if the VM has it.
    pub(super) fn unmap(&self) -> Result {
        let usage = self.0.watcher();
        usage.take_away(&mut usage.regions.lock())
    }
}

impl Drop for PfnMapping {
    fn drop(&mut self) {
        let usage = self.0.watcher();
        usage.stop(&mut usage.regions.lock());
    }
}
