// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! eventfds that save the round trip through a device model.

use std::os::fd::{AsFd, AsRawFd};

use acrn_uapi::ioctl::{ACRN_IOCTL_IOEVENTFD, ACRN_IOCTL_IRQFD};
use acrn_uapi::*;

use crate::call;
use crate::{Result, Vm};

/// Where a write signals an eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoEventAddress {
    /// An I/O port.
    Pio(u16),
    /// A guest-physical address.
    Mmio(u64),
}

/// What write signals an eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IoEvent {
    /// Where.
    pub address: IoEventAddress,
    /// How many bytes: 1, 2, 4 or 8.
    pub len: u32,
    /// Only if this is written; `None` for any value.
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
            // The ABI has the descriptor unsigned.
            fd: fd.as_raw_fd() as u32,
            flags: flags | pio | datamatch,
            addr,
            len: self.len,
            reserved: 0,
            data: self.datamatch.unwrap_or(0),
        }
    }
}

/// # eventfds
impl Vm {
    /// `ACRN_IOCTL_IOEVENTFD`: from now on this write by the guest signals `eventfd`, and nothing else.
    ///
    /// `EINVAL`: an impossible length or range. `EEXIST`: there is one for this write.
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

    /// `ACRN_IOCTL_IOEVENTFD`: undoes it. If the eventfd has none that is just this `event`, its first one is
    /// undone; if it has none at all, nothing is, which is no error.
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
        // SAFETY: this request reads an `acrn_ioeventfd`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_IOEVENTFD, &argument) }
    }

    /// `ACRN_IOCTL_IRQFD`: from now on a signal of `eventfd` sends this MSI to the guest.
    ///
    /// `EBUSY`: it does so already.
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

    /// `ACRN_IOCTL_IRQFD`: undoes it.
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
        // SAFETY: this request reads an `acrn_irqfd`.
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
