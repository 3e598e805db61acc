// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Passed-through devices, and devices that the hypervisor emulates.

use std::os::fd::AsFd;

use acrn_uapi::ioctl::*;
use acrn_uapi::{acrn_mmiodev, acrn_pcidev, acrn_ptdev_irq, acrn_vdev};

use crate::call;
use crate::{Result, Vm};

/// # Devices
///
/// The hypervisor accepts these commands before the VM's start. It accepts those that undo them
/// also while the VM is paused.
impl Vm {
    /// Passes a PCI device through to the VM (`ACRN_IOCTL_ASSIGN_PCIDEV`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`, `ENODEV` or `EFAULT`: the hypervisor refuses the device.
    ///
    /// # Examples
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
        // SAFETY: this command reads an `acrn_pcidev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_ASSIGN_PCIDEV, device) }
    }

    /// Takes a PCI device back from the VM (`ACRN_IOCTL_DEASSIGN_PCIDEV`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`, `ENODEV` or `EFAULT`: the hypervisor refuses the device.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::{Result, Vm, uapi::acrn_pcidev};
    /// # fn f(vm: Vm, device: acrn_pcidev) -> Result<()> {
    /// vm.deassign_pcidev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn deassign_pcidev(&self, device: &acrn_pcidev) -> Result<()> {
        // SAFETY: this command reads an `acrn_pcidev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DEASSIGN_PCIDEV, device) }
    }

    /// Passes an MMIO device through to the VM (`ACRN_IOCTL_ASSIGN_MMIODEV`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: an address or a size is not a multiple of the page size, or the hypervisor
    ///   refuses the device.
    /// - `ENOSPC`: the VM has 64 of them.
    ///
    /// # Examples
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
        // SAFETY: this command reads an `acrn_mmiodev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_ASSIGN_MMIODEV, device) }
    }

    /// Takes such a device back from the VM (`ACRN_IOCTL_DEASSIGN_MMIODEV`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: an address or a size is not a multiple of the page size, or the hypervisor
    ///   refuses the device.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::{Result, Vm, uapi::acrn_mmiodev};
    /// # fn f(vm: Vm, device: acrn_mmiodev) -> Result<()> {
    /// vm.deassign_mmiodev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn deassign_mmiodev(&self, device: &acrn_mmiodev) -> Result<()> {
        // SAFETY: this command reads an `acrn_mmiodev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DEASSIGN_MMIODEV, device) }
    }

    /// Routes the interrupt line of a passed-through device (`ACRN_IOCTL_SET_PTDEV_INTR`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the hypervisor refuses the interrupt.
    ///
    /// # Examples
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
        // SAFETY: this command reads an `acrn_ptdev_irq`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_SET_PTDEV_INTR, interrupt) }
    }

    /// Undoes [`set_ptdev_intr`](Self::set_ptdev_intr) (`ACRN_IOCTL_RESET_PTDEV_INTR`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the hypervisor refuses the interrupt.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::{Result, Vm, uapi::acrn_ptdev_irq};
    /// # fn f(vm: Vm, interrupt: acrn_ptdev_irq) -> Result<()> {
    /// vm.reset_ptdev_intr(&interrupt)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset_ptdev_intr(&self, interrupt: &acrn_ptdev_irq) -> Result<()> {
        // SAFETY: this command reads an `acrn_ptdev_irq`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_RESET_PTDEV_INTR, interrupt) }
    }

    /// Creates a device that the hypervisor emulates (`ACRN_IOCTL_CREATE_VDEV`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the hypervisor refuses the device.
    ///
    /// # Examples
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
        // SAFETY: this command reads an `acrn_vdev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_CREATE_VDEV, device) }
    }

    /// Destroys a device that the hypervisor emulates (`ACRN_IOCTL_DESTROY_VDEV`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the hypervisor refuses the device.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::{Result, Vm, uapi::acrn_vdev};
    /// # fn f(vm: Vm, device: acrn_vdev) -> Result<()> {
    /// vm.destroy_vdev(&device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn destroy_vdev(&self, device: &acrn_vdev) -> Result<()> {
        // SAFETY: this command reads an `acrn_vdev`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_DESTROY_VDEV, device) }
    }
}
