// SPDX-License-Identifier: GPL-2.0

//! User addresses that are mapped to physical memory without `struct page`s, such as device memory.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    bindings as own,
    sched::cond_resched_killable, //
};
use kernel::{
    bindings,
    error::to_result,
    mm::virt::flags,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

/// Pages looked at before another task may run.
const PAGES_PER_TURN: usize = 512;

/// Physically contiguous memory without counted pages, as it was mapped at the moment of [`look_up`].
pub(crate) struct PfnRange {
    first: u64,
    pages: usize,
}

impl PfnRange {
    /// Physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.first << PAGE_SHIFT
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        (self.pages as u64) << PAGE_SHIFT
    }
}

/// Whether the user address `start` of the current task is in a `VM_PFNMAP` area. Takes the mmap lock.
pub(crate) fn is_pfn_mapped(start: usize) -> Result<bool> {
    let task = current!();
    let mmap = task.mm().ok_or(ESRCH)?.mmap_read_lock();
    let area = mmap.vma_lookup(start);
    Ok(area.is_some_and(|area| area.flags() & flags::PFNMAP != 0))
}

/// The physical memory behind `pages` pages from the user address `start` of the current task.
///
/// Fails with `EFAULT` if `start` is not in a `VM_PFNMAP` area, with `EINVAL` if the area ends too soon,
/// has nothing mapped, or is not physically contiguous, with `EFAULT` if `write` is asked for and a page is
/// read-only, or is counted memory, which may be freed while it is mapped; with `EINTR` if the task is
/// killed. Takes the mmap lock.
///
/// What was found holds until the mapping is changed: see [`super::mmu_interval_notifier`].
pub(crate) fn look_up(start: usize, pages: usize, write: bool) -> Result<PfnRange> {
    let task = current!();
    let mmap = task.mm().ok_or(ESRCH)?.mmap_read_lock();
    let area = mmap.vma_lookup(start).ok_or(EFAULT)?;
    if area.flags() & flags::PFNMAP == 0 {
        return Err(EFAULT);
    }
    if pages > (area.end() - start) / PAGE_SIZE {
        return Err(EINVAL);
    }

    let mut first = None;
    for page in 0..pages {
        if page % PAGES_PER_TURN == 0 {
            cond_resched_killable()?;
        }
        let mut args = bindings::follow_pfnmap_args {
            vma: area.as_ptr(),
            address: start + page * PAGE_SIZE,
            ..Default::default()
        };
        // SAFETY: The area is valid and the address in it, while the mmap lock is held.
        to_result(unsafe { bindings::follow_pfnmap_start(&raw mut args) })?;
        let (pfn, writable) = (args.pfn as u64, args.writable);
        // SAFETY: Pairs with the call above, which was successful.
        unsafe { bindings::follow_pfnmap_end(&raw mut args) };

        // SAFETY: No precondition.
        if write && !writable || unsafe { own::hsm_pfn_is_counted(pfn) } {
            return Err(EFAULT);
        }
        if pfn != *first.get_or_insert(pfn) + page as u64 {
            return Err(EINVAL);
        }
    }
    let first = first.ok_or(EINVAL)?;
    Ok(PfnRange { first, pages })
}
