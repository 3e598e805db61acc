// SPDX-License-Identifier: GPL-2.0

//! Physical addresses of devices.
//!
//! [`kernel::io::resource`] requests regions for a driver's own use; these ranges may belong to
//! another driver, or to none. [`kernel::security`] has no `security_locked_down()`.
//!
//! C headers: [`include/linux/ioport.h`](srctree/include/linux/ioport.h),
//! [`include/linux/security.h`](srctree/include/linux/security.h)

use super::bindings as own;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// A range of physical addresses that contains none of the kernel's RAM.
///
/// # Examples
///
/// ```
/// use crate::abstractions::mmio_range::MmioRange;
///
/// let hpet = MmioRange::new(0xFED0_0000, 0x1000)?;
/// assert_eq!(hpet.phys(), 0xFED0_0000);
/// assert_eq!(MmioRange::new(u64::MAX, 2).err(), Some(EINVAL));
/// assert_eq!(MmioRange::new(1 << 52, 0x1000).err(), Some(EINVAL));
/// ```
///
/// # Invariants
///
/// `start + len` does not overflow, and the CPU has all addresses of the range. No page of it was
/// system RAM when the range was created.
pub(crate) struct MmioRange {
    start: u64,
    len: u64,
}

impl MmioRange {
    /// Returns the range of `len` bytes from the physical address `start`.
    ///
    /// Fails with `EINVAL` if the range wraps or goes beyond the CPU's last address. Fails with
    /// `EPERM` if the kernel uses any of it as RAM or is locked down so that user space may not
    /// choose physical addresses.
    pub(crate) fn new(start: u64, len: u64) -> Result<Self> {
        let end = start.checked_add(len).ok_or(EINVAL)?;
        // No address beyond this is one of RAM to the kernel. But ACRN ignores the bits from 48 on
        // when it looks an address up, so it may find RAM there.
        // SAFETY: No precondition.
        if end.saturating_sub(1) > unsafe { own::hsm_last_phys_addr() } {
            return Err(EINVAL);
        }
        let bytes = usize::try_from(len).map_err(|_| EINVAL)?;
        // SAFETY: No precondition.
        to_result(unsafe { own::hsm_dev_mem_locked_down() })?;
        // SAFETY: The range does not wrap.
        if unsafe { own::hsm_is_system_ram(start, bytes) } {
            return Err(EPERM);
        }
        // INVARIANT: Checked above.
        Ok(Self { start, len })
    }

    /// Returns the physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.start
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}
