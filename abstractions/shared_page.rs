// SPDX-License-Identifier: GPL-2.0

//! A page of user memory that the kernel accesses as well, and that may be lent to the hypervisor.
//!
//! [`kernel::page::Page`] is a page that the kernel allocated.

use super::{
    contiguous::Contiguous,
    lent_pages::Returned,
    object_count::{
        self,
        Counted, //
    },
    pinned_pages::PinnedPages, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        ordering,
        Atomic, //
    },
};

/// A pinned page. Dropping it while it is lent leaks the pin: the hypervisor may still write to the
/// page.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::{lent_pages::Returned, shared_page::SharedPage};
///
/// /// # Safety
/// ///
/// /// `proof` must be about the page at `start`.
/// unsafe fn lend(start: usize, proof: &impl Returned) -> Result {
///     let page = SharedPage::pin(start)?;
///     pr_info!("The page is at {:#x}\n", **page.lend());
///     // SAFETY: By the contract of this function.
///     unsafe { page.take_back(proof) };
///     Ok(())
/// }
/// ```
pub(crate) struct SharedPage {
    page: ManuallyDrop<PinnedPages>,
    /// The physical address of the page, in memory that the hypervisor can read.
    address: Contiguous<u64>,
    is_lent: Atomic<bool>,
    _count: Counted,
}

impl SharedPage {
    /// Pins the page at the user address `start` of the current task, as [`PinnedPages::pin`].
    pub(crate) fn pin(start: usize) -> Result<Self> {
        let page = PinnedPages::pin(start, 1)?;
        let phys = page.runs().first().ok_or(EFAULT)?.phys();
        // Before the page is wrapped, so that a failure unpins it.
        let address = Contiguous::new(phys)?;
        Ok(Self {
            page: ManuallyDrop::new(page),
            address,
            is_lent: Atomic::new(false),
            _count: Counted::new(&object_count::REQUEST_PAGES),
        })
    }

    /// Returns the kernel address of the page, which is valid as long as `self` exists.
    ///
    /// User space may write to the page at any time, and so may the hypervisor once the page is
    /// lent.
    pub(crate) fn as_ptr(&self) -> Option<NonNull<u8>> {
        self.page.first_page()
    }

    /// Lends the page. Returns its physical address, for the hypervisor.
    pub(crate) fn lend(&self) -> &Contiguous<u64> {
        self.is_lent.store(true, ordering::Relaxed);
        &self.address
    }

    /// Takes the page back from the hypervisor.
    ///
    /// # Safety
    ///
    /// The proof must be about the VM whose request page this is.
    pub(crate) unsafe fn take_back(&self, _proof: &impl Returned) {
        self.is_lent.store(false, ordering::Relaxed);
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if !self.is_lent.load(ordering::Relaxed) {
            // SAFETY: Nothing uses the field after this.
            unsafe { ManuallyDrop::drop(&mut self.page) };
        }
    }
}
