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
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// use acrn_ioctls::uapi::acrn_pcidev;
    ///
    /// let device = acrn_pcidev { virt_bdf: 3 << 3, phys_bdf: 2 << 3, ..Default::default() };
    /// vm.assign_pcidev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn assign_pcidev(&self, device: &acrn_pcidev) -> Result<()> {
        // SAFETY: this request reads an `acrn_pcidev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_ASSIGN_PCIDEV, device) }
    }

    /// `ACRN_IOCTL_DEASSIGN_PCIDEV`: takes it back.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm, device: acrn_ioctls::uapi::acrn_pcidev) -> acrn_ioctls::Result<()> {
    /// vm.deassign_pcidev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn deassign_pcidev(&self, device: &acrn_pcidev) -> Result<()> {
        // SAFETY: this request reads an `acrn_pcidev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DEASSIGN_PCIDEV, device) }
    }

    /// `ACRN_IOCTL_ASSIGN_MMIODEV`: passes a device known by its memory ranges through.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// use acrn_ioctls::uapi::acrn_mmiodev;
    ///
    /// let device = acrn_mmiodev { name: *b"MSFT0101", ..Default::default() };
    /// vm.assign_mmiodev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn assign_mmiodev(&self, device: &acrn_mmiodev) -> Result<()> {
        // SAFETY: this request reads an `acrn_mmiodev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_ASSIGN_MMIODEV, device) }
    }

    /// `ACRN_IOCTL_DEASSIGN_MMIODEV`: takes it back.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm, device: acrn_ioctls::uapi::acrn_mmiodev) -> acrn_ioctls::Result<()> {
    /// vm.deassign_mmiodev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn deassign_mmiodev(&self, device: &acrn_mmiodev) -> Result<()> {
        // SAFETY: this request reads an `acrn_mmiodev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DEASSIGN_MMIODEV, device) }
    }

    /// `ACRN_IOCTL_SET_PTDEV_INTR`: routes the interrupt line of a device that passes through.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// use acrn_ioctls::uapi::acrn_ptdev_irq;
    ///
    /// let interrupt = acrn_ptdev_irq { virt_bdf: 3 << 3, phys_bdf: 2 << 3, ..Default::default() };
    /// vm.set_ptdev_intr(&interrupt)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_ptdev_intr(&self, interrupt: &acrn_ptdev_irq) -> Result<()> {
        // SAFETY: this request reads an `acrn_ptdev_irq`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_SET_PTDEV_INTR, interrupt) }
    }

    /// `ACRN_IOCTL_RESET_PTDEV_INTR`: undoes it.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm, interrupt: acrn_ioctls::uapi::acrn_ptdev_irq) -> acrn_ioctls::Result<()> {
    /// vm.reset_ptdev_intr(&interrupt)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset_ptdev_intr(&self, interrupt: &acrn_ptdev_irq) -> Result<()> {
        // SAFETY: this request reads an `acrn_ptdev_irq`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_RESET_PTDEV_INTR, interrupt) }
    }

    /// `ACRN_IOCTL_CREATE_VDEV`: creates a device that the hypervisor plays.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// use acrn_ioctls::uapi::acrn_vdev;
    ///
    /// let device = acrn_vdev { slot: 4 << 3, ..Default::default() };
    /// vm.create_vdev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_vdev(&self, device: &acrn_vdev) -> Result<()> {
        // SAFETY: this request reads an `acrn_vdev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_CREATE_VDEV, device) }
    }

    /// `ACRN_IOCTL_DESTROY_VDEV`: destroys it.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm, device: acrn_ioctls::uapi::acrn_vdev) -> acrn_ioctls::Result<()> {
    /// vm.destroy_vdev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn destroy_vdev(&self, device: &acrn_vdev) -> Result<()> {
        // SAFETY: this request reads an `acrn_vdev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DESTROY_VDEV, device) }
    }
}
