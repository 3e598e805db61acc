// SPDX-License-Identifier: GPL-2.0

//! Ranges of whole pages, in any of the address spaces.

use crate::hypercall::{
    define_address,
    GuestPhys, //
};
use kernel::{
    macros::kunit_tests,
    page::PAGE_SIZE,
    prelude::*, //
};

define_address! {
    /// A virtual address of a process.
    UserAddr
}

/// An address of one of the address spaces.
pub(crate) trait Address: Copy + Ord + From<u64> + Into<u64> {}

impl<A: Copy + Ord + From<u64> + Into<u64>> Address for A {}

/// A page-aligned, non-empty range of addresses that does not wrap.
///
/// # Invariants
///
/// `start` and `end` are multiples of the page size, and `start` is less than `end`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageRange<A> {
    start: A,
    end: A,
}

/// A range of guest-physical addresses.
pub(crate) type GuestRange = PageRange<GuestPhys>;

impl<A: Address> PageRange<A> {
    /// Returns the range of `len` bytes from `start` on.
    ///
    /// Fails with `EINVAL` if the range does not consist of whole pages, is empty, or wraps.
    pub(crate) fn new(start: A, len: u64) -> Result<Self> {
        let first: u64 = start.into();
        let end = first.checked_add(len).ok_or(EINVAL)?;
        let is_aligned = (first | len) % PAGE_SIZE as u64 == 0;
        if !is_aligned || len == 0 {
            return Err(EINVAL);
        }
        // INVARIANT: Checked above.
        Ok(Self {
            start,
            end: A::from(end),
        })
    }

    /// Returns the first address.
    pub(crate) fn start(self) -> A {
        self.start
    }

    /// Returns the address that follows the last one.
    pub(crate) fn end(self) -> A {
        self.end
    }

    /// Returns the length in bytes.
    pub(crate) fn len(self) -> u64 {
        self.end.into() - self.start.into()
    }

    /// Returns the number of bytes before `address`, which must not be before the range.
    pub(crate) fn offset(self, address: A) -> u64 {
        address.into().saturating_sub(self.start.into())
    }

    /// Returns whether the ranges have an address in common.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Returns the part that the ranges have in common.
    pub(crate) fn intersection(self, other: Self) -> Option<Self> {
        // INVARIANT: Ranges that overlap have whole pages in common.
        self.overlaps(other).then(|| Self {
            start: self.start.max(other.start),
            end: self.end.min(other.end),
        })
    }

    /// Returns the parts before `address` and from `address` on. Returns `None` if one of them
    /// would be empty, or `address` is not page-aligned.
    pub(crate) fn split_at(self, address: A) -> Option<(Self, Self)> {
        let is_aligned = address.into() % PAGE_SIZE as u64 == 0;
        // INVARIANT: Neither part is empty.
        (is_aligned && self.start < address && address < self.end).then_some((
            Self {
                start: self.start,
                end: address,
            },
            Self {
                start: address,
                end: self.end,
            },
        ))
    }

    /// Returns the first `len` bytes, rounded down to whole pages but at least one, and the rest.
    pub(crate) fn split_first(self, len: u64) -> (Self, Option<Self>) {
        let len = (len - len % PAGE_SIZE as u64).max(PAGE_SIZE as u64);
        let address = self.start.into().saturating_add(len);
        match self.split_at(A::from(address)) {
            Some((first, rest)) => (first, Some(rest)),
            None => (self, None),
        }
    }
}

#[kunit_tests(acrn_hsm_page_range)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_SIZE as u64;
    const LAST_PAGE: u64 = u64::MAX - PAGE + 1;

    fn range(first: u64, pages: u64) -> Result<GuestRange> {
        PageRange::new(GuestPhys::from(first * PAGE), pages * PAGE)
    }

    #[test]
    fn ranges_are_whole_pages() {
        for (start, len) in [(0, PAGE), (PAGE, 5 * PAGE), (LAST_PAGE - PAGE, PAGE)] {
            let range = PageRange::new(UserAddr::from(start), len);
            assert!(range.is_ok_and(|range| range.len() == len));
        }
        for (start, len) in [
            (0, 0),
            (1, PAGE),
            (PAGE, 1),
            (PAGE, PAGE + 8),
            (LAST_PAGE, PAGE),
            (LAST_PAGE, 2 * PAGE),
            (PAGE, LAST_PAGE),
            (u64::MAX, u64::MAX),
        ] {
            let range = PageRange::new(UserAddr::from(start), len);
            assert!(range.is_err_and(|error| error == EINVAL));
        }
    }

    #[test]
    fn intersections_agree_with_sets_of_pages() -> Result {
        let pages = |range: GuestRange| {
            let page = |address: GuestPhys| u64::from(address) / PAGE;
            (1u64 << page(range.end())) - (1u64 << page(range.start()))
        };
        for (first, len) in (0..6).flat_map(|first| (1..6).map(move |len| (first, len))) {
            for (second, other) in (0..6).flat_map(|first| (1..6).map(move |len| (first, len))) {
                let (one, two) = (range(first, len)?, range(second, other)?);
                let common = pages(one) & pages(two);
                assert_eq!(one.overlaps(two), common != 0);
                assert_eq!(one.intersection(two).map_or(0, pages), common);
            }
        }
        Ok(())
    }

    #[test]
    fn parts_of_a_split_are_the_whole() -> Result {
        let whole = range(3, 4)?;
        for page in 0..9 {
            let parts = whole.split_at(GuestPhys::from(page * PAGE));
            assert_eq!(parts.is_some(), (4..7).contains(&page));
            assert!(parts.is_none_or(|(head, tail)| {
                head.start() == whole.start()
                    && head.end() == tail.start()
                    && tail.end() == whole.end()
            }));
        }
        assert!(whole.split_at(GuestPhys::from(4 * PAGE + 8)).is_none());
        Ok(())
    }

    #[test]
    fn the_first_part_has_at_least_a_page() -> Result {
        let whole = range(3, 4)?;
        for (len, first) in [
            (0, 1),
            (1, 1),
            (PAGE, 1),
            (2 * PAGE - 1, 1),
            (2 * PAGE, 2),
            (4 * PAGE, 4),
            (u64::MAX, 4),
        ] {
            let (part, rest) = whole.split_first(len);
            assert_eq!(part.len(), first * PAGE);
            assert_eq!(rest.map_or(0, |rest| rest.len()), (4 - first) * PAGE);
        }
        Ok(())
    }
}
