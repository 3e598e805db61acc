// SPDX-License-Identifier: GPL-2.0

//! Ranges of whole pages.

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// A page-aligned, non-empty range of addresses that does not wrap.
///
/// # Invariants
///
/// `start` and `end` are multiples of the page size, and `start` is less than `end`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRange {
    start: u64,
    end: u64,
}

impl PageRange {
    /// `len` bytes from `start`. `EINVAL` if these are not whole pages, none, or wrap.
    pub(super) fn new(start: u64, len: u64) -> Result<Self> {
        let end = start.checked_add(len).ok_or(EINVAL)?;
        let aligned = (start | len) % PAGE_SIZE as u64 == 0;
        if !aligned || len == 0 {
            return Err(EINVAL);
        }
        // INVARIANT: Checked above.
        Ok(Self { start, end })
    }

    /// The first address.
    pub(super) fn start(self) -> u64 {
        self.start
    }

    /// The address behind the last one.
    pub(super) fn end(self) -> u64 {
        self.end
    }

    /// Bytes.
    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether both have an address in common.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// What both have in common.
    pub(super) fn intersection(self, other: Self) -> Option<Self> {
        // INVARIANT: Ranges that overlap have whole pages in common.
        self.overlaps(other).then(|| Self {
            start: self.start.max(other.start),
            end: self.end.min(other.end),
        })
    }

    /// The parts before `address` and from there on, if both have pages.
    pub(super) fn split_at(self, address: u64) -> Option<(Self, Self)> {
        let aligned = address % PAGE_SIZE as u64 == 0;
        // INVARIANT: Neither part is empty.
        (aligned && self.start < address && address < self.end).then_some((
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

    /// The first `len` bytes, rounded down to pages but at least one, and what is behind them.
    pub(super) fn split_first(self, len: u64) -> (Self, Option<Self>) {
        let len = (len - len % PAGE_SIZE as u64).max(PAGE_SIZE as u64);
        let address = self.start.saturating_add(len);
        match self.split_at(address) {
            Some((first, rest)) => (first, Some(rest)),
            None => (self, None),
        }
    }
}
