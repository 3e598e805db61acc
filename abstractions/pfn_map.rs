// SPDX-License-Identifier: GPL-2.0

//! User addresses that are mapped to physical memory without `struct page`s, such as device memory.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::bindings as own;
use kernel::{
    bindings,
    error::to_result,
    mm::virt::flags,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Number of the physical page behind the user address `start` of the current task, which is followed
/// by the ones of all `pages` pages from there on.
///
/// `None` if `start` is not in a `VM_PFNMAP` area. `EINVAL` if the area ends too soon, has nothing
/// mapped, or is not physically contiguous. `EFAULT` if `write` is asked for and a page is read-only, or
/// is counted memory, which may be freed while it is mapped. Takes the mmap lock.
///
/// What was found holds until the mapping is changed: see [`super::mm_watch`].
pub(crate) fn look_up(start: usize, pages: usize, write: bool) -> Result<Option<u64>> {
    let task = current!();
    let mm = task.mm().ok_or(ESRCH)?;
    let mmap = mm.mmap_read_lock();
    let Some(area) = mmap.vma_lookup(start) else {
        return Ok(None);
    };
    if area.flags() & flags::PFNMAP == 0 {
        return Ok(None);
    }
    if pages > (area.end() - start) / PAGE_SIZE {
        return Err(EINVAL);
    }

    let mut first = None;
    for page in 0..pages {
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
    Ok(first)
}
