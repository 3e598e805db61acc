// SPDX-License-Identifier: GPL-2.0

//! Pinned pages that others than the kernel and its processes may reach, by physical address.

use super::pinned_pages::{
    PinnedPages,
    Run, //
};
use core::mem::ManuallyDrop;
use kernel::prelude::*;

/// A value of such a type proves that pages which were lent are reached by their borrower no more.
///
/// # Safety
///
/// A value must exist only where that is known of the pages that [`LentPages::take_back`] is called for
/// with it: neither a CPU nor a device has a translation that leads to them.
pub(crate) unsafe trait Returned {}

/// Pages whose physical addresses were given to the hypervisor.
///
/// To drop it without [`Returned`] leaks the pins, and what was charged for them: the borrower may still
/// write to the pages, which nothing else may get then.
pub(crate) struct LentPages(ManuallyDrop<PinnedPages>);

/// A part of [`LentPages`], physically contiguous.
#[derive(Clone, Copy)]
pub(crate) struct LentRun<'a> {
    run: Run,
    _pages: core::marker::PhantomData<&'a LentPages>,
}

impl LentRun<'_> {
    /// Physical address of the first byte.
    pub(crate) fn phys(self) -> u64 {
        self.run.phys()
    }

    /// Bytes.
    pub(crate) fn len(self) -> u64 {
        self.run.len()
    }
}

impl LentPages {
    /// Pages that are lent from now on.
    pub(crate) fn new(pages: PinnedPages) -> Self {
        Self(ManuallyDrop::new(pages))
    }

    /// The runs, in the order of the user addresses.
    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = LentRun<'_>> + Clone {
        self.0.runs().iter().map(|run| LentRun {
            run: *run,
            _pages: core::marker::PhantomData,
        })
    }

    /// Takes the pages from page number `at` on out of `self`. `EINVAL` if one of the parts would be empty.
    pub(crate) fn split_off(&mut self, at: u64) -> Result<Self> {
        self.0.split_off(at).map(Self::new)
    }

    /// The pages, of which the borrower has let go: they are unpinned when they are dropped.
    pub(crate) fn take_back(self, _proof: &impl Returned) -> PinnedPages {
        ManuallyDrop::into_inner(self.0)
    }
}
