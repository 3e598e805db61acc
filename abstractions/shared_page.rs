// SPDX-License-Identifier: GPL-2.0

//! One page of user memory that the kernel accesses, too, and that the hypervisor may be given.

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

/// A pinned page. To drop it while it is lent leaks the pin, because the hypervisor may still write there.
pub(crate) struct SharedPage {
    page: ManuallyDrop<PinnedPages>,
    /// Where the page is, in memory that the hypervisor can read.
    address: Contiguous<u64>,
    lent: Atomic<bool>,
    _live: Counted,
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
            lent: Atomic::new(false),
            _live: Counted::new(&object_count::REQUEST_PAGES),
        })
    }

    /// Kernel address of the page, valid for the life of `self`.
    ///
    /// User space writes there at any time, and so does the hypervisor once the page is lent.
    pub(crate) fn as_ptr(&self) -> Option<NonNull<u8>> {
        self.page.first_page()
    }

    /// The physical address of the page, for the hypervisor. The page is lent from now on.
    pub(crate) fn lend(&self) -> &Contiguous<u64> {
        self.lent.store(true, ordering::Relaxed);
        &self.address
    }

    /// The hypervisor has let go of the page.
    pub(crate) fn take_back(&self, _proof: &impl Returned) {
        self.lent.store(false, ordering::Relaxed);
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if !self.lent.load(ordering::Relaxed) {
            // SAFETY: Nothing uses the field after this.
            unsafe { ManuallyDrop::drop(&mut self.page) };
        }
    }
}
