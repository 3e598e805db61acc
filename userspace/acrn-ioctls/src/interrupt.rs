// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! How the device model interrupts the guest.

use std::os::fd::AsFd;

use acrn_uapi::acrn_msi_entry;
use acrn_uapi::ioctl::*;

use crate::call;
use crate::{Result, Vm};

/// An operation on an interrupt line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum IrqLine {
    /// Sets the line high.
    High = 0,
    /// Sets the line low.
    Low = 1,
    /// Sets the line high, then low.
    RisingPulse = 2,
    /// Sets the line low, then high.
    FallingPulse = 3,
}

impl IrqLine {
    /// Returns the argument of `ACRN_IOCTL_SET_IRQLINE`.
    fn argument(self, gsi: u32) -> u64 {
        (self as u64) << 32 | u64::from(gsi)
    }
}

/// The page that [`Vm::monitor_interrupts`] hands to the hypervisor.
///
/// It lists how often each physical interrupt occurred, or which interrupts to delay. The
/// hypervisor defines its layout.
#[derive(Debug, Clone)]
#[repr(C, align(4096))]
pub struct InterruptMonitor(pub [u8; 4096]);

impl InterruptMonitor {
    /// Returns a page of zeros.
    pub fn new() -> Box<Self> {
        Box::new(InterruptMonitor([0; 4096]))
    }
}

/// # Interrupts
impl Vm {
    /// Injects a message-signalled interrupt (`ACRN_IOCTL_INJECT_MSI`).
    ///
    /// # Errors
    ///
    /// - `EPERM` (ACRN's general error): `address` is not the address of an MSI.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// // Vector 0x40 to the vCPU with APIC id 1.
    /// vm.inject_msi(0xFEE0_1000, 0x40)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn inject_msi(&self, address: u64, data: u64) -> Result<()> {
        let msi = acrn_msi_entry {
            msi_addr: address,
            msi_data: data,
        };
        // SAFETY: this command reads an `acrn_msi_entry`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_INJECT_MSI, &msi) }
    }

    /// Drives a line of the guest's interrupt controllers (`ACRN_IOCTL_SET_IRQLINE`).
    ///
    /// # Errors
    ///
    /// - `EPERM` (ACRN's general error): there is no such line.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn f(vm: Vm) -> Result<()> {
    /// vm.set_irqline(4, IrqLine::High)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_irqline(&self, gsi: u32, line: IrqLine) -> Result<()> {
        // SAFETY: the argument of this command is a number.
        unsafe { call::with_value(self.as_fd(), ACRN_IOCTL_SET_IRQLINE, line.argument(gsi)) }
    }

    /// Reads counts of the VM's physical interrupts, or has the hypervisor delay some of them
    /// (`ACRN_IOCTL_VM_INTR_MONITOR`).
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the hypervisor does not know the command or the count in the page.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn f(vm: Vm) -> Result<()> {
    /// let mut page = InterruptMonitor::new();
    /// vm.monitor_interrupts(&mut page)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn monitor_interrupts(&self, page: &mut InterruptMonitor) -> Result<()> {
        // SAFETY: this command reads and writes the page at its argument. `page` is one whole,
        // aligned page, borrowed exclusively during the call, and all bytes are valid in it. The
        // hypervisor keeps no pointer to it.
        unsafe { call::with_mut(self.as_fd(), ACRN_IOCTL_VM_INTR_MONITOR, &mut page.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_arguments() {
        assert_eq!(IrqLine::High.argument(4), 4);
        assert_eq!(IrqLine::Low.argument(4), 0x1_0000_0004);
        assert_eq!(IrqLine::FallingPulse.argument(u32::MAX), 0x3_ffff_ffff);
    }

    #[test]
    fn monitor_is_a_page() {
        assert_eq!(&raw const *InterruptMonitor::new() as usize % 4096, 0);
        assert_eq!(size_of::<InterruptMonitor>(), 4096);
    }
}
