// SPDX-License-Identifier: GPL-2.0

//! Pinned pages that are lent to the hypervisor: it, its VMs and their devices may access them by
//! physical address.
//!
//! The kernel crate has no abstraction for pages that another kernel uses.

use super::{
    page_run::PageRun,
    pinned_pages::PinnedPages, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop, //
};
use kernel::prelude::*;

/// A proof that the borrower of lent pages no longer accesses them.
///
/// # Safety
///
/// A value of such a type is about a VM. It must exist only if neither a CPU nor a device has a
/// translation that leads to pages that were lent to this VM, or to those of them that the value
/// was created for.
pub(crate) unsafe trait Returned {}

/// Pages whose physical addresses were passed to the hypervisor.
///
/// Dropping this without [`Returned`] leaks the pins and their charge: the borrower may still write
/// to the pages, which must not be used for anything else then.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::{
///     lent_pages::{LentPages, Returned},
///     pinned_pages::PinnedPages,
/// };
///
/// /// # Safety
/// ///
/// /// `proof` must be about the pages at `start`.
/// unsafe fn lend(start: usize, proof: &impl Returned) -> Result {
///     let pages = LentPages::new(PinnedPages::pin(start, 2)?);
///     for run in pages.runs() {
///         pr_info!("{} bytes at {:#x}\n", run.len(), run.phys());
///     }
///     // SAFETY: By the contract of this function.
///     drop(unsafe { pages.take_back(proof) });
///     Ok(())
/// }
/// ```
pub(crate) struct LentPages(ManuallyDrop<PinnedPages>);

/// A physically contiguous part of [`LentPages`].
#[derive(Clone, Copy)]
pub(crate) struct LentRun<'a> {
    run: PageRun,
    _pages: PhantomData<&'a LentPages>,
}

impl LentRun<'_> {
    /// Returns the physical address of the first byte.
    pub(crate) fn phys(self) -> u64 {
        self.run.phys()
    }

    /// Returns the length in bytes.
    pub(crate) fn len(self) -> u64 {
        self.run.len()
    }
}

impl LentPages {
    /// Lends `pages`.
    pub(crate) fn new(pages: PinnedPages) -> Self {
        Self(ManuallyDrop::new(pages))
    }

    /// Returns the runs, in the order of the user addresses.
    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = LentRun<'_>> + Clone {
        self.0.runs().iter().map(|run| LentRun {
            run: *run,
            _pages: PhantomData,
        })
    }

    /// Splits off the pages from page number `at` on.
    ///
    /// Fails with `EINVAL` if one of the parts would be empty.
    pub(crate) fn split_off(&mut self, at: u64) -> Result<Self> {
        self.0.split_off(at).map(Self::new)
    }

    /// Takes the pages back. Dropping the result unpins them.
    ///
    /// # Safety
    ///
    /// The proof must be about the VM that the pages were lent to.
    pub(crate) unsafe fn take_back(self, _proof: &impl Returned) -> PinnedPages {
        ManuallyDrop::into_inner(self.0)
    }
}
