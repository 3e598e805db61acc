// SPDX-License-Identifier: GPL-2.0

//! Physically contiguous pages in 8 bytes.

use kernel::{
    macros::kunit_tests,
    page::PAGE_SHIFT, //
};

/// A physically contiguous run of pages, either all of hugetlb folios or none.
///
/// Packed, so that scattered memory costs 8 bytes a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageRun(u64);

impl PageRun {
    /// Bits of the page frame number: x86-64 has at most 52 bits of physical address (Intel SDM
    /// 3A, 4.1.4). The bits above hold the number of pages, and the topmost bit the kind.
    const PFN_BITS: u32 = 40;
    const ONE_PAGE: u64 = 1 << Self::PFN_BITS;
    const HUGETLB: u64 = 1 << (u64::BITS - 1);
    /// The most pages in a run.
    const MAX_PAGES: u64 = Self::HUGETLB / Self::ONE_PAGE - 1;

    /// Returns the run of `pages` pages from `pfn` on. `pages` is at most [`Self::MAX_PAGES`].
    pub(super) fn new(pfn: u64, pages: u64, is_hugetlb: bool) -> Self {
        let kind = if is_hugetlb { Self::HUGETLB } else { 0 };
        Self(kind | (pages << Self::PFN_BITS) | pfn)
    }

    /// Returns both runs as one if `next` follows `self` and is of the same kind.
    pub(super) fn joined(self, next: Self) -> Option<Self> {
        let pages = self.pages() + next.pages();
        (pages <= Self::MAX_PAGES
            && self.is_hugetlb() == next.is_hugetlb()
            && self.pfn() + self.pages() == next.pfn())
        .then(|| Self::new(self.pfn(), pages, self.is_hugetlb()))
    }

    /// Returns the first `pages` pages and the rest, if neither is empty.
    pub(super) fn split_at(self, pages: u64) -> Option<(Self, Self)> {
        let rest = self.pages().checked_sub(pages)?;
        let part = |pfn, pages| Self::new(pfn, pages, self.is_hugetlb());
        (pages > 0 && rest > 0).then(|| (part(self.pfn(), pages), part(self.pfn() + pages, rest)))
    }

    /// Returns the page frame number of the first page.
    pub(super) fn pfn(self) -> u64 {
        self.0 & (Self::ONE_PAGE - 1)
    }

    /// Returns the number of pages.
    pub(super) fn pages(self) -> u64 {
        (self.0 & !Self::HUGETLB) >> Self::PFN_BITS
    }

    /// Returns whether the pages are those of hugetlb folios.
    pub(super) fn is_hugetlb(self) -> bool {
        self.0 & Self::HUGETLB != 0
    }

    /// Returns the number of pages that count as locked memory. hugetlb pages do not: they are
    /// reserved for their user anyway.
    pub(super) fn charged_pages(self) -> u64 {
        if self.is_hugetlb() {
            0
        } else {
            self.pages()
        }
    }

    /// Returns the physical address of the first byte.
    pub(crate) fn phys(self) -> u64 {
        self.pfn() << PAGE_SHIFT
    }

    /// Returns the length in bytes.
    pub(crate) fn len(self) -> u64 {
        self.pages() << PAGE_SHIFT
    }
}

#[kunit_tests(acrn_hsm_page_run)]
mod tests {
    use super::*;

    const LAST_PFN: u64 = PageRun::ONE_PAGE - 1;

    #[test]
    fn parts_do_not_disturb_each_other() {
        for is_hugetlb in [false, true] {
            let run = PageRun::new(LAST_PFN, PageRun::MAX_PAGES, is_hugetlb);
            assert_eq!(run.pfn(), LAST_PFN);
            assert_eq!(run.pages(), PageRun::MAX_PAGES);
            assert_eq!(run.is_hugetlb(), is_hugetlb);
            assert_eq!(run.phys(), LAST_PFN << PAGE_SHIFT);
            assert_eq!(run.len(), PageRun::MAX_PAGES << PAGE_SHIFT);
        }
    }

    #[test]
    fn only_neighbours_of_a_kind_join() {
        let run = PageRun::new(10, 2, false);
        assert!(run.joined(PageRun::new(12, 3, false)) == Some(PageRun::new(10, 5, false)));
        assert!(run.joined(PageRun::new(13, 1, false)).is_none());
        assert!(run.joined(PageRun::new(9, 1, false)).is_none());
        assert!(run.joined(PageRun::new(12, 1, true)).is_none());
        let long = PageRun::new(10, PageRun::MAX_PAGES, true);
        let next = PageRun::new(10 + PageRun::MAX_PAGES, 1, true);
        assert!(long.joined(next).is_none());
    }

    #[test]
    fn parts_of_a_split_join_again() {
        let run = PageRun::new(7, 512, true);
        for pages in 1..512 {
            let parts = run.split_at(pages);
            assert!(parts.is_some_and(|(head, tail)| {
                head.pages() == pages && head.joined(tail) == Some(run)
            }));
        }
        assert!(run.split_at(0).is_none());
        assert!(run.split_at(512).is_none());
        assert!(run.split_at(513).is_none());
    }

    #[test]
    fn hugetlb_pages_are_not_charged() {
        assert_eq!(PageRun::new(1, 3, false).charged_pages(), 3);
        assert_eq!(PageRun::new(1, 3, true).charged_pages(), 0);
    }
}
