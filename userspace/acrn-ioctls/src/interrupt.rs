// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Interrupts into the guest.

use std::os::fd::AsFd;

use acrn_uapi::acrn_msi_entry;
use acrn_uapi::ioctl::*;

use crate::call;
use crate::{Result, Vm};

/// What to do with an interrupt line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum IrqLine {
    /// Set it high.
    High = 0,
    /// Set it low.
    Low = 1,
    /// Set it high, then low.
    RisingPulse = 2,
    /// Set it low, then high.
    FallingPulse = 3,
}

impl IrqLine {
    /// The argument of `ACRN_IOCTL_SET_IRQLINE`.
    fn argument(self, gsi: u32) -> u64 {
        (self as u64) << 32 | u64::from(gsi)
    }
}

/// The page that [`Vm::monitor_interrupts`] hands to the hypervisor: a list of what interrupts came how often,
/// or of which are to be delayed. Its layout is the hypervisor's.
#[derive(Debug, Clone)]
#[repr(C, align(4096))]
pub struct InterruptMonitor(pub [u8; 4096]);

impl InterruptMonitor {
    /// A page of zeros.
    pub fn new() -> Box<Self> {
        Box::new(InterruptMonitor([0; 4096]))
    }
}

/// # Interrupts
impl Vm {
    /// `ACRN_IOCTL_INJECT_MSI`: sends a message signalled interrupt.
    ///
    /// `EPERM` (ACRN's general error): the address is not that of an MSI.
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
        // SAFETY: this request reads an `acrn_msi_entry`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_INJECT_MSI, &msi) }
    }

    /// `ACRN_IOCTL_SET_IRQLINE`: drives a line of the guest's interrupt controllers.
    ///
    /// `EPERM` (ACRN's general error): no such line.
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn f(vm: Vm) -> Result<()> {
    /// vm.set_irqline(4, IrqLine::High)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_irqline(&self, gsi: u32, line: IrqLine) -> Result<()> {
        // SAFETY: this request takes its argument for a number.
        unsafe { call::with_value(self.as_fd(), ACRN_IOCTL_SET_IRQLINE, line.argument(gsi)) }
    }

    /// `ACRN_IOCTL_VM_INTR_MONITOR`: asks the hypervisor for counts of the VM's physical interrupts, or tells
    /// it to delay some.
    ///
    /// `EINVAL`: a command or a count that the hypervisor does not know.
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
        // SAFETY: this request reads and writes the page that holds its argument's address. `page` is one
        // page, whole and aligned, of which any bytes will do, and ours alone for the call; the hypervisor
        // keeps no pointer.
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
