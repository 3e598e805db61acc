// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Devices that pass through to the guest, and devices that the hypervisor plays.

use std::os::fd::AsFd;

use acrn_uapi::ioctl::*;
use acrn_uapi::{acrn_mmiodev, acrn_pcidev, acrn_ptdev_irq, acrn_vdev};

use crate::call;
use crate::{Result, Vm};

/// # Devices
///
/// The hypervisor wants these before the start; what undoes them also works while the VM is paused. It
/// answers `EINVAL` for what it does not know, and for PCI also `ENODEV` and `EFAULT`.
impl Vm {
    /// `ACRN_IOCTL_ASSIGN_PCIDEV`: passes a PCI device through.
    pub fn assign_pcidev(&self, device: &acrn_pcidev) -> Result<()> {
        // SAFETY: this request reads an `acrn_pcidev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_ASSIGN_PCIDEV, device) }
    }

    /// `ACRN_IOCTL_DEASSIGN_PCIDEV`: takes it back.
    pub fn deassign_pcidev(&self, device: &acrn_pcidev) -> Result<()> {
        // SAFETY: this request reads an `acrn_pcidev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DEASSIGN_PCIDEV, device) }
    }

    /// `ACRN_IOCTL_ASSIGN_MMIODEV`: passes a device known by its memory ranges through.
    pub fn assign_mmiodev(&self, device: &acrn_mmiodev) -> Result<()> {
        // SAFETY: this request reads an `acrn_mmiodev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_ASSIGN_MMIODEV, device) }
    }

    /// `ACRN_IOCTL_DEASSIGN_MMIODEV`: takes it back.
    pub fn deassign_mmiodev(&self, device: &acrn_mmiodev) -> Result<()> {
        // SAFETY: this request reads an `acrn_mmiodev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DEASSIGN_MMIODEV, device) }
    }

    /// `ACRN_IOCTL_SET_PTDEV_INTR`: routes the interrupt line of a device that passes through.
    pub fn set_ptdev_intr(&self, interrupt: &acrn_ptdev_irq) -> Result<()> {
        // SAFETY: this request reads an `acrn_ptdev_irq`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_SET_PTDEV_INTR, interrupt) }
    }

    /// `ACRN_IOCTL_RESET_PTDEV_INTR`: undoes it.
    pub fn reset_ptdev_intr(&self, interrupt: &acrn_ptdev_irq) -> Result<()> {
        // SAFETY: this request reads an `acrn_ptdev_irq`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_RESET_PTDEV_INTR, interrupt) }
    }

    /// `ACRN_IOCTL_CREATE_VDEV`: creates a device that the hypervisor plays.
    pub fn create_vdev(&self, device: &acrn_vdev) -> Result<()> {
        // SAFETY: this request reads an `acrn_vdev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_CREATE_VDEV, device) }
    }

    /// `ACRN_IOCTL_DESTROY_VDEV`: destroys it.
    pub fn destroy_vdev(&self, device: &acrn_vdev) -> Result<()> {
        // SAFETY: this request reads an `acrn_vdev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DESTROY_VDEV, device) }
    }
}
