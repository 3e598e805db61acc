// SPDX-License-Identifier: GPL-2.0

//! User pages pinned for long, kept as physically contiguous runs.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h), and
//! [`Documentation/core-api/pin_user_pages.rst`](srctree/Documentation/core-api/pin_user_pages.rst)

use super::{
    bindings as own,
    object_count::PINNED_PAGES,
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

/// Pages asked for in one call of the page-table walker, or given back in one: one page of pointers.
const PAGES_PER_CALL: usize = 512;

/// A physically contiguous run of pages of one kind, packed so that scattered memory costs 8 bytes a page.
#[derive(Clone, Copy)]
pub(crate) struct Run(u64);

impl Run {
    /// x86-64 has at most 52 bits of physical address, so 40 of page frame number (Intel SDM 3A,
    /// 4.1.4); the rest counts pages, and tells their kind.
    const PFN_BITS: u32 = 40;
    const ONE_PAGE: u64 = 1 << Self::PFN_BITS;
    const HUGETLB: u64 = 1 << (u64::BITS - 1);
    const MAX_PAGES: u64 = Self::HUGETLB / Self::ONE_PAGE - 1;

    /// `pages` pages, at most [`Self::MAX_PAGES`].
    fn new(pfn: u64, pages: u64, is_hugetlb: bool) -> Self {
        let kind = if is_hugetlb { Self::HUGETLB } else { 0 };
        Self(kind | (pages << Self::PFN_BITS) | pfn)
    }

    /// Both as one, if `next` continues `self`.
    fn joined(self, next: Self) -> Option<Self> {
        let pages = self.pages() + next.pages();
        (pages <= Self::MAX_PAGES
            && self.is_hugetlb() == next.is_hugetlb()
            && self.pfn() + self.pages() == next.pfn())
        .then(|| Self::new(self.pfn(), pages, self.is_hugetlb()))
    }

    /// The first `pages` pages, and the rest. Neither may be empty.
    fn split_at(self, pages: u64) -> Option<(Self, Self)> {
        let rest = self.pages().checked_sub(pages)?;
        let part = |pfn, pages| Self::new(pfn, pages, self.is_hugetlb());
        (pages > 0 && rest > 0).then(|| (part(self.pfn(), pages), part(self.pfn() + pages, rest)))
    }

    fn pfn(self) -> u64 {
        self.0 & (Self::ONE_PAGE - 1)
    }

    fn pages(self) -> u64 {
        (self.0 & !Self::HUGETLB) >> Self::PFN_BITS
    }

    fn is_hugetlb(self) -> bool {
        self.0 & Self::HUGETLB != 0
    }

    /// Pages that count as locked memory: hugetlb pages are reserved for their user already.
    fn charged_pages(self) -> u64 {
        if self.is_hugetlb() {
            0
        } else {
            self.pages()
        }
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
    /// None, to be charged to the current task.
    fn none() -> Result<Self> {
        Ok(Self {
            mm: ARef::from(&**current!().mm().ok_or(ESRCH)?),
            pages: 0,
        })
    }

    /// Charges more. `ENOMEM` beyond `RLIMIT_MEMLOCK`.
    fn charge(&mut self, pages: usize) -> Result {
        // SAFETY: The pointer is valid while `mm` is held.
        to_result(unsafe { bindings::account_locked_vm(self.mm.as_raw(), pages, true) })?;
        self.pages += pages;
        Ok(())
    }

    /// Hands over what was charged for `pages` pages, or all if that is less.
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
        // SAFETY: The pointer is valid while `mm` is held; the pages were charged to it.
        unsafe { bindings::account_locked_vm(self.mm.as_raw(), self.pages, false) };
    }
}

/// User pages, pinned writable for as long as this lives. They are marked dirty when it goes,
/// because the hypervisor and its VMs write to them behind the kernel's back.
///
/// To drop it takes long if it is large, sleeps, and takes the mmap lock.
///
/// # Invariants
///
/// Each page of each run holds one pin of `FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE`, and is counted.
pub(crate) struct PinnedPages {
    runs: KVVec<Run>,
    charge: LockedMemory,
}

impl PinnedPages {
    /// Pins `pages` pages from the user address `start` of the current task.
    ///
    /// `start` must be page-aligned. Fails with `EFAULT` where the range is not writable memory,
    /// with `ENOMEM` beyond `RLIMIT_MEMLOCK`, from which hugetlb pages are exempt, with `EINTR` if the
    /// task is killed; nothing stays pinned then. Process context.
    pub(crate) fn pin(start: usize, pages: usize) -> Result<Self> {
        Self::pin_and(start, pages, LockedMemory::charge)
    }

    /// The same without a charge, to look which pages these are: to be dropped soon.
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
                    with_folio += run.take_rest_of_hugetlb((pages - done) as u64);
                }
                done += run.0.pages() as usize;
                charged += run.0.charged_pages() as usize;
                // One page of the next hugetlb folio is enough.
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

    /// Takes the pages from page number `at` on out of `self`. `EINVAL` if one of the parts would be empty.
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
        let (&first, behind) = others.split_first().ok_or(EINVAL)?;
        let cut = first.split_at(left);
        if whole.is_empty() && cut.is_none() {
            return Err(EINVAL);
        }
        // Both anew: neither keeps room for what it does not have.
        let (mut head, mut tail) = (KVVec::new(), KVVec::new());
        head.reserve(whole.len() + 1, GFP_KERNEL_ACCOUNT)?;
        tail.reserve(behind.len() + 1, GFP_KERNEL_ACCOUNT)?;
        head.extend_from_slice(whole, GFP_KERNEL_ACCOUNT)?;
        if let Some((before, _)) = cut {
            head.push(before, GFP_KERNEL_ACCOUNT)?;
        }
        tail.push(cut.map_or(first, |(_, after)| after), GFP_KERNEL_ACCOUNT)?;
        tail.extend_from_slice(behind, GFP_KERNEL_ACCOUNT)?;
        let charged: u64 = tail.iter().map(|run| run.charged_pages()).sum();
        let charge = self.charge.split_off(charged as usize);
        // INVARIANT: `head` and `tail` have each page of `self.runs` once.
        self.runs = head;
        Ok(Self { runs: tail, charge })
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
            // INVARIANT: The pins move out of `runs`, which goes.
            drop(PinnedRun(*run));
        }
    }
}

/// One run, pinned: what [`PinnedPages`] is made of.
///
/// # Invariants
///
/// Each page holds one pin of `FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE`, and is counted.
struct PinnedRun(Run);

impl PinnedRun {
    /// Pins what is behind the last page in its hugetlb folio, if it is in one, until there are `most` pages.
    /// Returns how many were added.
    ///
    /// The last page must just have been found in page tables. A hugetlb folio has one entry there for all of its
    /// pages: whoever may write to one of them may write to the next ones at the next addresses.
    fn take_rest_of_hugetlb(&mut self, most: u64) -> u64 {
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
        self.0 = Run::new(run.pfn(), run.pages() + more, true);
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
            // SAFETY: The run's pages exist and hold one pin each, by the type invariant.
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

/// Pinned pages, as they were found in page tables.
///
/// # Invariants
///
/// The pages in the slice hold one pin each, and are counted.
struct FoundPages<'a>(&'a [*mut bindings::page]);

impl<'a> FoundPages<'a> {
    /// Pins as many pages from the user address `start` on as `room` has room for, or less, but at least one.
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
        // INVARIANT: Pinned, and counted, just now.
        Ok(Self(room.get(..got as usize).ok_or(EINVAL)?))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the first of them that are a run.
    fn take_run(&mut self) -> Option<PinnedRun> {
        let first = self.0.first()?.cast();
        let mut is_hugetlb = false;
        // SAFETY: The pages are pinned, by the type invariant. The C function does not change the array; its
        // parameter is not `const` for want of a qualifier.
        let (pfn, pages) = unsafe {
            let pages = self.0.as_ptr().cast_mut().cast();
            (
                own::hsm_page_to_pfn(first),
                own::hsm_first_run(pages, self.0.len(), &raw mut is_hugetlb),
            )
        };
        // INVARIANT: The pins move from the slice to the run.
        self.0 = self.0.get(pages..)?;
        Some(PinnedRun(Run::new(pfn, pages as u64, is_hugetlb)))
    }
}

impl Drop for FoundPages<'_> {
    fn drop(&mut self) {
        // SAFETY: The pages in the slice hold one pin each. The C function does not change the
        // array; its parameter is not `const` for want of a qualifier.
        unsafe { bindings::unpin_user_pages(self.0.as_ptr().cast_mut(), self.0.len()) };
        PINNED_PAGES.change(-(self.0.len() as i64));
    }
}

// SAFETY: Pins and the charge belong to no thread.
unsafe impl Send for PinnedPages {}
// SAFETY: `&PinnedPages` gives plain values and an address only.
unsafe impl Sync for PinnedPages {}
