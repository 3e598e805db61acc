// SPDX-License-Identifier: GPL-2.0

//! PCI functions by their address, without a driver for them.
//!
//! [`kernel::pci::Device`] is for the driver that is bound to a device.
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

/// The address of a PCI function in domain 0.
///
/// # Examples
///
/// ```
/// use crate::abstractions::pci::PciAddress;
/// use kernel::str::CString;
///
/// let text = CString::try_from_fmt(fmt!("{}", PciAddress::from_bdf(0x00FA)))?;
/// assert_eq!(text.to_bytes(), b"00:1f.2");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PciAddress(u16);

impl PciAddress {
    /// Returns the address with bus in bits 15:8, device in bits 7:3 and function in bits 2:0.
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
/// # Examples
///
/// ```no_run
/// use crate::abstractions::pci::{PciAddress, PciFunction};
///
/// fn stop(bdf: u16) -> Result {
///     let function = PciFunction::get(PciAddress::from_bdf(bdf)).ok_or(ENODEV)?;
///     function.clear_master();
///     function.reset()
/// }
/// ```
///
/// # Invariants
///
/// The pointer is valid, and this owns one reference to it.
pub(crate) struct PciFunction {
    device: NonNull<c_void>,
    _count: Counted,
}

impl PciFunction {
    /// Returns the function with the address `address`, if the kernel knows it. Process context.
    pub(crate) fn get(address: PciAddress) -> Option<Self> {
        // SAFETY: No precondition.
        // INVARIANT: The function takes the reference that this now owns.
        let device = NonNull::new(unsafe { own::hsm_pci_get(address.0) })?;
        Some(Self {
            device,
            _count: Counted::new(&object_count::PCI_FUNCTIONS),
        })
    }

    /// Clears bus mastering: the function starts no more transactions.
    pub(crate) fn clear_master(&self) {
        // SAFETY: Valid by the type invariant.
        unsafe { own::hsm_pci_clear_master(self.device.as_ptr()) };
    }

    /// Resets the function by any method that it has, and restores its configuration space.
    /// Sleeps.
    ///
    /// Fails with `ENOTTY` if the function cannot be reset alone.
    pub(crate) fn reset(&self) -> Result {
        // SAFETY: Valid by the type invariant. Process context, with no lock of the device held.
        to_result(unsafe { own::hsm_pci_reset_function(self.device.as_ptr()) })
    }
}

impl Drop for PciFunction {
    fn drop(&mut self) {
        // SAFETY: Our reference, by the type invariant.
        unsafe { own::hsm_pci_put(self.device.as_ptr()) };
    }
}
