// SPDX-License-Identifier: GPL-2.0

//! The page of I/O requests that the hypervisor, user space and this driver share.

use super::{
    slot::{
        Slot,
        SlotWords, //
    },
    vcpu::{
        VcpuId,
        SLOTS, //
    },
};
use crate::{
    abstractions::shared_page::SharedPage,
    uapi, //
};
use core::ptr::NonNull;
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

static_assert!(SLOTS as usize * size_of::<uapi::acrn_io_request>() <= PAGE_SIZE);

/// A pinned request page.
///
/// # Invariants
///
/// `slots` is the kernel's address of `page`.
pub(crate) struct RequestPage {
    slots: NonNull<SlotWords>,
    page: SharedPage,
}

// SAFETY: The page is accessed by atomic operations only.
unsafe impl Send for RequestPage {}
// SAFETY: As above.
unsafe impl Sync for RequestPage {}

impl RequestPage {
    /// Pins the page at the user address `address`, as [`SharedPage::pin`].
    ///
    /// Fails with `EINVAL` if the address is not page-aligned.
    pub(crate) fn pin(address: u64) -> Result<Self> {
        let address = usize::try_from(address).map_err(|_| EINVAL)?;
        if address % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let page = SharedPage::pin(address)?;
        // INVARIANT: The address of `page`.
        Ok(Self {
            slots: page.as_ptr().ok_or(EFAULT)?.cast(),
            page,
        })
    }

    /// Returns the page, to be lent to the hypervisor and taken back.
    pub(super) fn shared(&self) -> &SharedPage {
        &self.page
    }

    /// Returns the slot of a vCPU.
    pub(crate) fn slot(&self, vcpu: VcpuId) -> Slot<'_> {
        // SAFETY: By the invariant of `VcpuId` the slot is inside the page, which is mapped while
        // `self` exists. It is aligned, and the kernel only accesses it by atomic operations.
        let words = unsafe { self.slots.add(u16::from(vcpu).into()).as_ref() };
        Slot::new(words, vcpu)
    }
}
