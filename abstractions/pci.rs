// SPDX-License-Identifier: GPL-2.0

//! PCI functions by their address, without a driver.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::{
    bindings as own,
    object_count::{
        self,
        Counted, //
    },
};
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi::c_void,
    fmt,
    prelude::*, //
};

/// Address of a PCI function in domain 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PciAddress(u16);

impl PciAddress {
    /// Bus in bits 15:8, device in 7:3, function in 2:0.
    pub(crate) fn from_bdf(bdf: u16) -> Self {
        Self(bdf)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bdf = self.0;
        f.write_fmt(fmt!("{:02x}:{:02x}.{}", bdf >> 8, bdf >> 3 & 0x1F, bdf & 7))
    }
}

/// A counted reference to a `struct pci_dev`.
///
/// # Invariants
///
/// The pointer is valid, and holds one reference of ours.
pub(crate) struct PciFunction {
    device: NonNull<c_void>,
    _live: Counted,
}

impl PciFunction {
    /// The function with that address, if the kernel knows it. Process context.
    pub(crate) fn get(address: PciAddress) -> Option<Self> {
        // SAFETY: No precondition.
        // INVARIANT: The function takes a reference, which is ours now.
        let device = NonNull::new(unsafe { own::hsm_pci_get(address.0) })?;
        Some(Self {
            device,
            _live: Counted::new(&object_count::PCI_FUNCTIONS),
        })
    }

    /// Has the function begin no more transactions, by its command register.
    pub(crate) fn clear_master(&self) {
        // SAFETY: Valid by the type invariant.
        unsafe { own::hsm_pci_clear_master(self.device.as_ptr()) };
    }

    /// Resets the function by whichever method it has; its configuration space stays as it was. Sleeps.
    ///
    /// Fails with `ENOTTY` if there is no way to reset it alone.
    pub(crate) fn reset(&self) -> Result {
        // SAFETY: Valid by the type invariant; process context with no lock of the device held.
        to_result(unsafe { own::hsm_pci_reset(self.device.as_ptr()) })
    }
}

impl Drop for PciFunction {
    fn drop(&mut self) {
        // SAFETY: Our reference, by the type invariant.
        unsafe { own::hsm_pci_put(self.device.as_ptr()) };
    }
}
