// SPDX-License-Identifier: GPL-2.0

//! Memory without counted pages, such as that of a device, in a User VM.
//!
//! Nothing can pin it. So the VM has it for as long as the device model has it mapped: when that changes,
//! be it by `munmap` or by the driver that the memory is of, it is taken away from the VM before.

use super::PageRange;
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
    new_mutex,
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

/// Whether a VM's id is still that of the VM.
#[derive(PartialEq, Eq)]
pub(super) enum Life {
    Lasting,
    Ended,
}

/// What all [`PfnMapping`]s of one VM hold on to: under its lock they are made and taken away.
#[pin_data]
pub(super) struct Lifeline {
    #[pin]
    life: Mutex<Life>,
}

impl Lifeline {
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                life <- new_mutex!(Life::Lasting),
            }),
            GFP_KERNEL,
        )
    }

    /// Runs `destroy`. After success no mapping is taken away any more: the VM has none.
    pub(super) fn end_with(&self, destroy: impl FnOnce() -> Result) -> Result {
        let mut life = self.life.lock();
        destroy()?;
        *life = Life::Ended;
        Ok(())
    }
}

struct Use {
    vm: VmId,
    lifeline: Arc<Lifeline>,
    /// Made beforehand: where it is needed, memory cannot be allocated.
    removal: RegionChange,
    /// Changes under the lock of `lifeline`.
    mapped: Atomic<bool>,
}

impl Use {
    fn take_away(&self, life: &Life) -> Result {
        if *life == Life::Lasting && self.mapped.load(ordering::Relaxed) {
            self.removal.carry_out()?;
        }
        self.mapped.store(false, ordering::Relaxed);
        Ok(())
    }
}

impl Watcher for Use {
    type State = Life;

    fn lock(&self) -> &Mutex<Life> {
        &self.lifeline.life
    }

    fn stop(&self, life: &Life) {
        if let Err(error) = self.take_away(life) {
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
        lifeline: &Arc<Lifeline>,
        start: usize,
        pages: usize,
        guest: PageRange,
        access: u32,
    ) -> Result<Self> {
        let removal = RegionChange::single(vm, MemoryRegion::delete(guest.start, guest.len))?;
        let watch = MmWatch::new(
            start,
            pages * PAGE_SIZE,
            Use {
                vm,
                lifeline: lifeline.clone(),
                removal,
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
            let added = watch.commit(begun, |usage, _| {
                addition.carry_out()?;
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
        let life = usage.lock().lock();
        usage.take_away(&life)
    }
}

impl Drop for PfnMapping {
    fn drop(&mut self) {
        let usage = self.0.watcher();
        usage.stop(&usage.lock().lock());
    }
}
