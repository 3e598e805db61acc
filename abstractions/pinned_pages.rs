// SPDX-License-Identifier: GPL-2.0

//! User pages pinned for a long time, kept as physically contiguous runs.
//!
//! The kernel crate has no abstraction for pinned user pages.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h), and
//! [`Documentation/core-api/pin_user_pages.rst`](srctree/Documentation/core-api/pin_user_pages.rst)

use super::{
    bindings as own,
    object_count::PINNED_PAGES,
    page_run::PageRun,
    sched::{
        cond_resched,
        cond_resched_killable, //
    },
    tracepoints::acrn_pin_pages,
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    bindings,
    error::to_result,
    mm::Mm,
    page::PAGE_SHIFT,
    prelude::*,
    sync::aref::ARef, //
};

/// Pages that one call looks up in page tables or unpins: one page of pointers.
const PAGES_PER_CALL: usize = 512;

/// Pages charged to `mm->locked_vm`, as by `mlock`.
///
/// A task with `CAP_IPC_LOCK` may exceed `RLIMIT_MEMLOCK`, but is charged as well.
struct LockedMemory {
    mm: ARef<Mm>,
    pages: usize,
}

impl LockedMemory {
    /// Returns a charge of 0 pages to the current task.
    fn none() -> Result<Self> {
        Ok(Self {
            mm: ARef::from(&**current!().mm().ok_or(ESRCH)?),
            pages: 0,
        })
    }

    /// Charges more pages. Fails with `ENOMEM` beyond `RLIMIT_MEMLOCK`.
    fn charge(&mut self, pages: usize) -> Result {
        // SAFETY: The pointer is valid while `mm` is held.
        to_result(unsafe { bindings::account_locked_vm(self.mm.as_raw(), pages, true) })?;
        self.pages += pages;
        Ok(())
    }

    /// Splits off the charge of `pages` pages, or all of it if that is less.
    fn split_off(&mut self, pages: usize) -> Self {
        let pages = pages.min(self.pages);
        self.pages -= pages;
        Self {
            mm: self.mm.clone(),
            pages,
        }
    }
}

impl Drop for LockedMemory {
    fn drop(&mut self) {
        // SAFETY: The pointer is valid while `mm` is held. The pages were charged to it.
        unsafe { bindings::account_locked_vm(self.mm.as_raw(), self.pages, false) };
    }
}

/// User pages, pinned writable.
///
/// Dropping this marks the pages dirty, because the hypervisor and its VMs write to them without
/// the kernel's knowledge, and unpins them. That may take long, sleeps, and takes the mmap lock.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::pinned_pages::PinnedPages;
///
/// fn log_addresses(start: usize) -> Result {
///     let pages = PinnedPages::pin(start, 512)?;
///     for run in pages.runs() {
///         pr_info!("{} bytes at {:#x}\n", run.len(), run.phys());
///     }
///     Ok(())
/// }
/// ```
///
/// # Invariants
///
/// Each page of each run has one pin (`FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE`) of ours, and is
/// counted.
pub(crate) struct PinnedPages {
    runs: KVVec<PageRun>,
    charge: LockedMemory,
}

impl PinnedPages {
    /// Pins `pages` pages from the user address `start` of the current task, and charges them.
    ///
    /// `start` must be page-aligned. If this fails, no page stays pinned.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if a page is not writable memory.
    /// - `ENOMEM` beyond `RLIMIT_MEMLOCK`, which hugetlb pages do not count against.
    /// - `EINTR` if the task was killed.
    ///
    /// # Context
    ///
    /// Process context. Takes the mmap lock.
    pub(crate) fn pin(start: usize, pages: usize) -> Result<Self> {
        Self::pin_and(start, pages, LockedMemory::charge)
    }

    /// Pins pages without a charge, to find out which pages they are. To be dropped soon.
    pub(crate) fn pin_uncharged(start: usize, pages: usize) -> Result<Self> {
        Self::pin_and(start, pages, |_, _| Ok(()))
    }

    fn pin_and(
        start: usize,
        pages: usize,
        charge: impl Fn(&mut LockedMemory, usize) -> Result,
    ) -> Result<Self> {
        // INVARIANT: No runs yet.
        let mut pinned = Self {
            runs: KVVec::new(),
            charge: LockedMemory::none()?,
        };
        let mut buffer = KBox::new([ptr::null_mut(); PAGES_PER_CALL], GFP_KERNEL)?;

        let (mut done, mut wanted, mut with_folio) = (0, PAGES_PER_CALL, 0);
        while done < pages {
            cond_resched_killable()?;
            let address = start.checked_add(done << PAGE_SHIFT).ok_or(EFAULT)?;
            let room = buffer.get_mut(..wanted.min(pages - done));
            let mut found = FoundPages::pin(address, room.ok_or(EINVAL)?)?;
            let mut charged = 0;
            while let Some(mut run) = found.take_run() {
                if found.is_empty() {
                    with_folio += run.pin_rest_of_hugetlb_folio((pages - done) as u64);
                }
                done += run.0.pages() as usize;
                charged += run.0.charged_pages() as usize;
                // A single page leads to all others of its hugetlb folio.
                wanted = if run.0.is_hugetlb() {
                    1
                } else {
                    PAGES_PER_CALL
                };
                pinned.append(run)?;
            }
            charge(&mut pinned.charge, charged)?;
        }
        acrn_pin_pages(start as u64, pages as u64, with_folio);
        Ok(pinned)
    }

    fn append(&mut self, pins: PinnedRun) -> Result {
        let next = pins.0;
        if let Some(last) = self.runs.last_mut() {
            if let Some(both) = last.joined(next) {
                *last = both;
                // INVARIANT: The pins have moved to the longer run.
                core::mem::forget(pins);
                return Ok(());
            }
        }
        self.runs.push(next, GFP_KERNEL_ACCOUNT)?;
        // INVARIANT: The pins have moved to the new element.
        core::mem::forget(pins);
        Ok(())
    }

    /// Splits off the pages from page number `at` on.
    ///
    /// Fails with `EINVAL` if one of the parts would be empty.
    pub(crate) fn split_off(&mut self, at: u64) -> Result<Self> {
        let mut left = at;
        let mut index = 0;
        for run in self.runs.iter() {
            if run.pages() > left {
                break;
            }
            left -= run.pages();
            index += 1;
        }
        let (whole, others) = self.runs.split_at_checked(index).ok_or(EINVAL)?;
        let (&first, rest) = others.split_first().ok_or(EINVAL)?;
        let cut = first.split_at(left);
        if whole.is_empty() && cut.is_none() {
            return Err(EINVAL);
        }
        // Two new vectors, so that neither keeps room that it does not need.
        let (mut head, mut tail) = (KVVec::new(), KVVec::new());
        head.reserve(whole.len() + 1, GFP_KERNEL_ACCOUNT)?;
        tail.reserve(rest.len() + 1, GFP_KERNEL_ACCOUNT)?;
        head.extend_from_slice(whole, GFP_KERNEL_ACCOUNT)?;
        if let Some((before, _)) = cut {
            head.push(before, GFP_KERNEL_ACCOUNT)?;
        }
        tail.push(cut.map_or(first, |(_, after)| after), GFP_KERNEL_ACCOUNT)?;
        tail.extend_from_slice(rest, GFP_KERNEL_ACCOUNT)?;
        let charged: u64 = tail.iter().map(|run| run.charged_pages()).sum();
        let charge = self.charge.split_off(charged as usize);
        // INVARIANT: `head` and `tail` have each page of `self.runs` once.
        self.runs = head;
        Ok(Self { runs: tail, charge })
    }

    /// Returns the runs, in the order of the user addresses.
    pub(crate) fn runs(&self) -> &[PageRun] {
        &self.runs
    }

    /// Returns the kernel address of the first page, which is valid for one page and as long as
    /// `self` exists.
    ///
    /// User space and the hypervisor may write to the page at any time.
    pub(crate) fn first_page(&self) -> Option<NonNull<u8>> {
        let run = self.runs.first()?;
        // SAFETY: The pages of the run exist and are pinned, by the type invariant. x86-64 has no
        // highmem: each page has an address in the direct map.
        let address = unsafe { own::hsm_page_address(own::hsm_pfn_to_page(run.pfn())) };
        NonNull::new(address.cast())
    }
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        for run in self.runs.iter() {
            // INVARIANT: The pins move out of `runs`, which is freed.
            drop(PinnedRun(*run));
        }
    }
}

// SAFETY: Pins and the charge belong to no thread.
unsafe impl Send for PinnedPages {}
// SAFETY: `&PinnedPages` gives access to plain values and an address only.
unsafe impl Sync for PinnedPages {}

/// A pinned run.
///
/// # Invariants
///
/// Each page has one pin (`FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE`) of ours, and is counted.
struct PinnedRun(PageRun);

impl PinnedRun {
    /// Pins the pages that follow the last page in its hugetlb folio, if it is in one, until the
    /// run has `most` pages. Returns the number of pages added.
    ///
    /// The last page must just have been found in page tables. A single entry there maps all pages
    /// of a hugetlb folio: a process that may write to one of them may write to those that follow
    /// at the addresses that follow.
    fn pin_rest_of_hugetlb_folio(&mut self, most: u64) -> u64 {
        let run = self.0;
        if !run.is_hugetlb() {
            return 0;
        }
        // SAFETY: The last page of a run exists, is pinned and in a hugetlb folio.
        let more = unsafe {
            own::hsm_pin_rest_of_folio(
                own::hsm_pfn_to_page(run.pfn() + run.pages() - 1),
                most - run.pages(),
            )
        };
        PINNED_PAGES.change(more as i64);
        // INVARIANT: These pages follow the last one, and were pinned.
        self.0 = PageRun::new(run.pfn(), run.pages() + more, true);
        more
    }
}

impl Drop for PinnedRun {
    fn drop(&mut self) {
        let mut rest = Some(self.0);
        while let Some(run) = rest {
            let (part, behind) = match run.split_at(PAGES_PER_CALL as u64) {
                Some((part, behind)) => (part, Some(behind)),
                None => (run, None),
            };
            // SAFETY: The pages of the run exist and have one pin each, by the type invariant.
            unsafe {
                bindings::unpin_user_page_range_dirty_lock(
                    own::hsm_pfn_to_page(part.pfn()).cast(),
                    part.pages() as usize,
                    true,
                )
            };
            PINNED_PAGES.change(-(part.pages() as i64));
            rest = behind;
            cond_resched();
        }
    }
}

/// Pinned pages, as found in page tables.
///
/// # Invariants
///
/// The pages in the slice have one pin each, and are counted.
struct FoundPages<'a>(&'a [*mut bindings::page]);

impl<'a> FoundPages<'a> {
    /// Pins at least one page from the user address `start` on, and at most as many as fit in
    /// `room`.
    fn pin(start: usize, room: &'a mut [*mut bindings::page]) -> Result<Self> {
        // SAFETY: There is room for so many pointers.
        let got = unsafe {
            bindings::pin_user_pages_fast(
                start,
                room.len() as i32,
                bindings::FOLL_WRITE | bindings::FOLL_LONGTERM,
                room.as_mut_ptr(),
            )
        };
        to_result(got)?;
        if got == 0 {
            return Err(EFAULT);
        }
        PINNED_PAGES.change(got.into());
        // INVARIANT: Pinned and counted above.
        Ok(Self(room.get(..got as usize).ok_or(EINVAL)?))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the longest run at the beginning.
    fn take_run(&mut self) -> Option<PinnedRun> {
        let first = self.0.first()?.cast();
        let mut is_hugetlb = false;
        // SAFETY: The pages are pinned, by the type invariant. The C function does not change the
        // array; its parameter merely lacks `const`.
        let (pfn, pages) = unsafe {
            let pages = self.0.as_ptr().cast_mut().cast();
            (
                own::hsm_page_to_pfn(first),
                own::hsm_first_run(pages, self.0.len(), &raw mut is_hugetlb),
            )
        };
        // INVARIANT: The pins move from the slice to the run.
        self.0 = self.0.get(pages..)?;
        Some(PinnedRun(PageRun::new(pfn, pages as u64, is_hugetlb)))
    }
}

impl Drop for FoundPages<'_> {
    fn drop(&mut self) {
        // SAFETY: The pages in the slice have one pin each. The C function does not change the
        // array; its parameter merely lacks `const`.
        unsafe { bindings::unpin_user_pages(self.0.as_ptr().cast_mut(), self.0.len()) };
        PINNED_PAGES.change(-(self.0.len() as i64));
    }
}
