// SPDX-License-Identifier: GPL-2.0

//! User pages pinned for long, kept as physically contiguous runs.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h), and
//! [`Documentation/core-api/pin_user_pages.rst`](srctree/Documentation/core-api/pin_user_pages.rst)

use super::bindings as own;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    mm::Mm,
    page::PAGE_SHIFT,
    prelude::*,
    sync::aref::ARef, //
};

/// Pages asked for in one call of the page-table walker: one page of pointers.
const PAGES_PER_CALL: usize = 512;

/// A physically contiguous run of pages, packed so that scattered memory costs 8 bytes a page.
#[derive(Clone, Copy)]
pub(crate) struct Run(u64);

impl Run {
    /// x86-64 has at most 52 bits of physical address, so 40 of page frame number (Intel SDM 3A,
    /// 4.1.4); the rest counts pages.
    const PFN_BITS: u32 = 40;
    const MAX_PAGES: u64 = (1 << (u64::BITS - Self::PFN_BITS)) - 1;

    fn one(pfn: u64) -> Self {
        Self((1 << Self::PFN_BITS) | pfn)
    }

    /// The run with the page `pfn` added, if that continues it.
    fn extended(self, pfn: u64) -> Option<Self> {
        let pages = self.pages();
        (pages < Self::MAX_PAGES && self.pfn() + pages == pfn)
            .then(|| Self(self.0 + (1 << Self::PFN_BITS)))
    }

    fn pfn(self) -> u64 {
        self.0 & ((1 << Self::PFN_BITS) - 1)
    }

    fn pages(self) -> u64 {
        self.0 >> Self::PFN_BITS
    }

    /// Physical address of the first byte.
    pub(crate) fn phys(self) -> u64 {
        self.pfn() << PAGE_SHIFT
    }

    /// Bytes.
    pub(crate) fn len(self) -> u64 {
        self.pages() << PAGE_SHIFT
    }
}

/// Pages charged to `mm->locked_vm`, as `mlock` would.
///
/// A task with `CAP_IPC_LOCK` may go beyond `RLIMIT_MEMLOCK`, but is charged as well.
struct LockedMemory {
    mm: ARef<Mm>,
    pages: usize,
}

impl LockedMemory {
    fn charge(pages: usize) -> Result<Self> {
        let mm: ARef<Mm> = ARef::from(&**current!().mm().ok_or(ESRCH)?);
        // SAFETY: The pointer is valid while `mm` is held.
        to_result(unsafe { bindings::account_locked_vm(mm.as_raw(), pages, true) })?;
        Ok(Self { mm, pages })
    }
}

impl Drop for LockedMemory {
    fn drop(&mut self) {
        // SAFETY: The pointer is valid while `mm` is held; the pages were charged to it.
        unsafe { bindings::account_locked_vm(self.mm.as_raw(), self.pages, false) };
    }
}

/// User pages, pinned writable for as long as this lives. They are marked dirty when it goes,
/// because the hypervisor and its VMs write to them behind the kernel's back.
///
/// # Invariants
///
/// Each page of each run holds one pin of `FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE`.
pub(crate) struct PinnedPages {
    runs: KVVec<Run>,
    _charge: LockedMemory,
}

impl PinnedPages {
    /// Pins `pages` pages from the user address `start` of the current task.
    ///
    /// `start` must be page-aligned. Fails with `EFAULT` where the range is not writable memory,
    /// with `ENOMEM` beyond `RLIMIT_MEMLOCK`; nothing stays pinned then. Process context.
    pub(crate) fn pin(start: usize, pages: usize) -> Result<Self> {
        // INVARIANT: No runs yet.
        let mut pinned = Self {
            runs: KVVec::new(),
            _charge: LockedMemory::charge(pages)?,
        };
        let mut buffer = KBox::new([ptr::null_mut(); PAGES_PER_CALL], GFP_KERNEL)?;

        let mut done = 0;
        while done < pages {
            let wanted = (pages - done).min(PAGES_PER_CALL);
            let address = start.checked_add(done << PAGE_SHIFT).ok_or(EFAULT)?;
            // SAFETY: `buffer` has room for `wanted` pointers.
            let got = unsafe {
                bindings::pin_user_pages_fast(
                    address,
                    wanted as i32,
                    bindings::FOLL_WRITE | bindings::FOLL_LONGTERM,
                    buffer.as_mut_ptr(),
                )
            };
            to_result(got)?;
            if got == 0 {
                return Err(EFAULT);
            }
            let mut fresh = FreshPins(buffer.get(..got as usize).ok_or(EINVAL)?);
            while let Some((&page, rest)) = fresh.0.split_first() {
                // INVARIANT: The pin of `page` moves from `fresh` to `runs`.
                pinned.append(page)?;
                fresh.0 = rest;
            }
            done += got as usize;
        }
        Ok(pinned)
    }

    fn append(&mut self, page: *mut bindings::page) -> Result {
        // SAFETY: `page` was pinned just now.
        let pfn = unsafe { own::hsm_page_to_pfn(page.cast()) };
        if let Some(last) = self.runs.last_mut() {
            if let Some(longer) = last.extended(pfn) {
                *last = longer;
                return Ok(());
            }
        }
        self.runs.push(Run::one(pfn), GFP_KERNEL)?;
        Ok(())
    }

    /// The runs, in the order of the user addresses.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Kernel address of the first page, valid for one page and for the life of `self`.
    ///
    /// User space and whoever got the physical address may write there at any time.
    pub(crate) fn first_page(&self) -> Option<NonNull<u8>> {
        let run = self.runs.first()?;
        // SAFETY: The run's pages exist and are pinned, by the type invariant. x86-64 has no
        // highmem: each page has an address in the direct map.
        let address = unsafe { own::hsm_page_address(own::hsm_pfn_to_page(run.pfn())) };
        NonNull::new(address.cast())
    }
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        for run in self.runs.iter() {
            // SAFETY: The run's pages exist and hold one pin each, by the type invariant.
            unsafe {
                bindings::unpin_user_page_range_dirty_lock(
                    own::hsm_pfn_to_page(run.pfn()).cast(),
                    run.pages() as usize,
                    true,
                )
            };
        }
    }
}

/// Pins that no [`PinnedPages`] has taken over yet.
struct FreshPins<'a>(&'a [*mut bindings::page]);

impl Drop for FreshPins<'_> {
    fn drop(&mut self) {
        // SAFETY: The pages in the slice hold one pin each. The C function does not change the
        // array; its parameter is not `const` for want of a qualifier.
        unsafe { bindings::unpin_user_pages(self.0.as_ptr().cast_mut(), self.0.len()) };
    }
}

// SAFETY: Pins and the charge belong to no thread.
unsafe impl Send for PinnedPages {}
// SAFETY: `&PinnedPages` gives plain values and an address only.
unsafe impl Sync for PinnedPages {}
