// SPDX-License-Identifier: GPL-2.0

//! The PCI devices that are passed through to a VM.
//!
//! When the hypervisor destroys a VM that still has devices, it returns them to the Service VM's
//! IOMMU domain as they are. A device with DMA in progress then writes to the Service VM's memory.

use crate::{
    abstractions::{
        pci::{
            PciAddress,
            PciFunction, //
        },
        ratelimit::pr_err_ratelimited,
    },
    hypercall::VmId,
};
use kernel::prelude::*;

/// The PCI devices of a VM. Contains each once.
#[derive(Default)]
pub(crate) struct PassthroughDevices(KVec<PciAddress>);

impl PassthroughDevices {
    /// Reserves room for another device.
    pub(crate) fn reserve(&mut self) -> Result {
        self.0.reserve(1, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Adds a device for which room was reserved. `bdf` has the bus in bits 15:8, the device in
    /// bits 7:3 and the function in bits 2:0.
    pub(crate) fn add(&mut self, bdf: u16) {
        let address = PciAddress::from_bdf(bdf);
        if !self.0.contains(&address) {
            let _ = self.0.push_within_capacity(address);
        }
    }

    /// Removes a device.
    pub(crate) fn remove(&mut self, bdf: u16) {
        self.0.retain(|known| *known != PciAddress::from_bdf(bdf));
    }

    /// Returns the number of devices.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Stops the devices, after the hypervisor has destroyed the VM `vm`: clears bus mastering and
    /// resets the functions. Sleeps for up to about 100 ms per device.
    pub(crate) fn quiesce(self, vm: VmId) {
        for address in &self.0 {
            let Some(function) = PciFunction::get(*address) else {
                pr_err_ratelimited!("VM {}: PCI device {} does not exist\n", vm, address);
                continue;
            };
            function.clear_master();
            if let Err(error) = function.reset() {
                pr_err_ratelimited!(
                    "VM {}: PCI device {} cannot be reset, its bus mastering is off: {:?}\n",
                    vm,
                    address,
                    error
                );
            }
        }
    }
}
