// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! ioeventfds and irqfds, which bypass the device model.

use std::os::fd::{AsFd, AsRawFd};

use acrn_uapi::ioctl::{ACRN_IOCTL_IOEVENTFD, ACRN_IOCTL_IRQFD};
use acrn_uapi::*;

use crate::call;
use crate::{Result, Vm};

/// The address at which a write signals an eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoEventAddress {
    /// An I/O port.
    Pio(u16),
    /// A guest-physical address.
    Mmio(u64),
}

/// The write that signals an eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IoEvent {
    /// The port or address.
    pub address: IoEventAddress,
    /// The length of the write in bytes: 1, 2, 4 or 8.
    pub len: u32,
    /// The value that must be written; `None` for any value.
    pub datamatch: Option<u64>,
}

impl IoEvent {
    fn argument(&self, fd: &impl AsRawFd, flags: u32) -> acrn_ioeventfd {
        let (addr, pio) = match self.address {
            IoEventAddress::Pio(port) => (u64::from(port), ACRN_IOEVENTFD_FLAG_PIO),
            IoEventAddress::Mmio(address) => (address, 0),
        };
        let datamatch = if self.datamatch.is_some() {
            ACRN_IOEVENTFD_FLAG_DATAMATCH
        } else {
            0
        };
        acrn_ioeventfd {
            // The descriptor is unsigned in the ABI.
            fd: fd.as_raw_fd() as u32,
            flags: flags | pio | datamatch,
            addr,
            len: self.len,
            reserved: 0,
            data: self.datamatch.unwrap_or(0),
        }
    }
}

/// # Eventfds
impl Vm {
    /// Makes a write of the guest signal `eventfd` (`ACRN_IOCTL_IOEVENTFD`).
    ///
    /// The driver completes such a write. The device model does not receive it.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the length or the range is impossible.
    /// - `EBADF`: the descriptor is not open. `EINVAL`: it is not an eventfd.
    /// - `EEXIST`: the eventfd is an ioeventfd of this VM for the same write.
    /// - `ENOSPC`: the VM would have more than 1024 ioeventfds, or more than 64 at one address.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn f(vm: Vm, eventfd: std::os::fd::OwnedFd) -> Result<()> {
    /// let doorbell = IoEvent { address: IoEventAddress::Pio(0x5658), len: 4, datamatch: None };
    /// vm.assign_ioeventfd(&eventfd, &doorbell)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn assign_ioeventfd(&self, eventfd: &impl AsRawFd, event: &IoEvent) -> Result<()> {
        self.ioeventfd(event.argument(eventfd, 0))
    }

    /// Undoes [`assign_ioeventfd`](Self::assign_ioeventfd) (`ACRN_IOCTL_IOEVENTFD`).
    ///
    /// If no ioeventfd of `eventfd` has exactly this `event`, the driver removes the one that was
    /// assigned first. If there is none at all, the call succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// - `EBADF`: the descriptor is not open. `EINVAL`: it is not an eventfd.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn f(vm: Vm, eventfd: std::os::fd::OwnedFd, doorbell: IoEvent) -> Result<()> {
    /// vm.deassign_ioeventfd(&eventfd, &doorbell)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn deassign_ioeventfd(&self, eventfd: &impl AsRawFd, event: &IoEvent) -> Result<()> {
        self.ioeventfd(event.argument(eventfd, ACRN_IOEVENTFD_FLAG_DEASSIGN))
    }

    fn ioeventfd(&self, argument: acrn_ioeventfd) -> Result<()> {
        // SAFETY: this command reads an `acrn_ioeventfd`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_IOEVENTFD, &argument) }
    }

    /// Makes a signal of `eventfd` inject an MSI into the guest (`ACRN_IOCTL_IRQFD`).
    ///
    /// # Errors
    ///
    /// - `EBADF`: the descriptor is not open. `EINVAL`: it is not an eventfd.
    /// - `EBUSY`: the eventfd is an irqfd of this VM.
    /// - `ENOSPC`: the VM would have more than 1024 irqfds.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm, eventfd: std::os::fd::OwnedFd) -> acrn_ioctls::Result<()> {
    /// vm.assign_irqfd(&eventfd, 0xFEE0_0000, 0x41)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn assign_irqfd(
        &self,
        eventfd: &impl AsRawFd,
        msi_address: u64,
        msi_data: u64,
    ) -> Result<()> {
        self.irqfd(eventfd, 0, msi_address, msi_data)
    }

    /// Undoes [`assign_irqfd`](Self::assign_irqfd) (`ACRN_IOCTL_IRQFD`).
    ///
    /// If the eventfd is not an irqfd of this VM, the call succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// - `EBADF`: the descriptor is not open. `EINVAL`: it is not an eventfd.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm, eventfd: std::os::fd::OwnedFd) -> acrn_ioctls::Result<()> {
    /// vm.deassign_irqfd(&eventfd)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn deassign_irqfd(&self, eventfd: &impl AsRawFd) -> Result<()> {
        self.irqfd(eventfd, ACRN_IRQFD_FLAG_DEASSIGN, 0, 0)
    }

    fn irqfd(
        &self,
        eventfd: &impl AsRawFd,
        flags: u32,
        msi_addr: u64,
        msi_data: u64,
    ) -> Result<()> {
        let msi = acrn_msi_entry { msi_addr, msi_data };
        let argument = acrn_irqfd {
            fd: eventfd.as_raw_fd(),
            flags,
            msi,
        };
        // SAFETY: this command reads an `acrn_irqfd`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_IRQFD, &argument) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let port = IoEvent {
            address: IoEventAddress::Pio(0xcf8),
            len: 4,
            datamatch: None,
        };
        let argument = port.argument(&7, 0);
        assert_eq!(
            (argument.fd, argument.flags, argument.addr, argument.len),
            (7, 1, 0xcf8, 4)
        );
        let memory = IoEvent {
            address: IoEventAddress::Mmio(1 << 40),
            len: 8,
            datamatch: Some(0),
        };
        let argument = memory.argument(&7, ACRN_IOEVENTFD_FLAG_DEASSIGN);
        assert_eq!(
            (argument.flags, argument.addr, argument.data),
            (2 | 4, 1 << 40, 0)
        );
    }
}
