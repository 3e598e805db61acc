// SPDX-License-Identifier: GPL-2.0

//! User addresses that are mapped to physical memory without `struct page`, such as device memory.
//!
//! [`kernel::mm`] finds the area of an address, but not the memory that it is mapped to.
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

/// Pages looked up before another task may run.
const PAGES_PER_TURN: usize = 512;

/// Physically contiguous memory without counted pages, as it was mapped at the time of
/// [`follow_pfnmap`].
pub(crate) struct PfnRange {
    first: u64,
    pages: usize,
}

impl PfnRange {
    /// Returns the physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.first << PAGE_SHIFT
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        (self.pages as u64) << PAGE_SHIFT
    }
}

/// Returns whether the user address `start` of the current task is in a `VM_PFNMAP` area. Takes
/// the mmap lock.
pub(crate) fn is_pfnmap(start: usize) -> Result<bool> {
    let task = current!();
    let mmap = task.mm().ok_or(ESRCH)?.mmap_read_lock();
    let area = mmap.vma_lookup(start);
    Ok(area.is_some_and(|area| area.flags() & flags::PFNMAP != 0))
}

/// Returns the physical memory to which `pages` pages from the user address `start` of the current
/// task are mapped.
///
/// The result holds until the mapping changes; see [`super::mmu_interval_notifier`].
///
/// # Errors
///
/// - `EFAULT` if `start` is not in a `VM_PFNMAP` area, if `write` is set and a page is read-only,
///   or if a page is counted memory, which may be freed while it is mapped.
/// - `EINVAL` if the area ends too soon, has unmapped pages, or is not physically contiguous.
/// - `EINTR` if the task was killed.
///
/// # Context
///
/// Process context. Takes the mmap lock.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::pfnmap::follow_pfnmap;
///
/// fn log_address(start: usize) -> Result {
///     let pfns = follow_pfnmap(start, 4, true)?;
///     pr_info!("{} bytes at {:#x}\n", pfns.len(), pfns.phys());
///     Ok(())
/// }
/// ```
pub(crate) fn follow_pfnmap(start: usize, pages: usize, write: bool) -> Result<PfnRange> {
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
        // SAFETY: The area is valid and contains the address while the mmap lock is held.
        to_result(unsafe { bindings::follow_pfnmap_start(&raw mut args) })?;
        let (pfn, writable) = (args.pfn as u64, args.writable);
        // SAFETY: Pairs with the call above, which succeeded.
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
