// SPDX-License-Identifier: GPL-2.0

//! The PCI devices that are passed through to a VM.
//!
//! When the hypervisor destroys a VM that still has some, it gives them back to the Service VM's IOMMU
//! domain as they are. A device that goes on with its DMA then writes to the Service VM's memory.

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

/// The PCI devices of a VM, each once.
#[derive(Default)]
pub(crate) struct PassedThrough(KVec<PciAddress>);

impl PassedThrough {
    /// Sees to it that there is room for one more.
    pub(crate) fn reserve_one(&mut self) -> Result {
        self.0.reserve(1, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Adds a device, for which room was reserved; its address has bus in bits 15:8, device in 7:3 and
    /// function in 2:0.
    pub(crate) fn add(&mut self, bdf: u16) {
        let address = PciAddress::from_bdf(bdf);
        if !self.0.contains(&address) {
            let _ = self.0.push_within_capacity(address);
        }
    }

    /// Takes a device off.
    pub(crate) fn remove(&mut self, bdf: u16) {
        self.0.retain(|known| *known != PciAddress::from_bdf(bdf));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Ends what the devices do, after the hypervisor has destroyed the VM `vm`: clears bus mastering and
    /// resets the functions. Sleeps, for up to some 100 ms a device.
    pub(crate) fn quiesce(self, vm: VmId) {
        for address in &self.0 {
            let Some(function) = PciFunction::get(*address) else {
                pr_err_ratelimited!("VM {}: its PCI device {} is not there\n", vm, address);
                continue;
            };
            function.clear_master();
            if let Err(error) = function.reset() {
                pr_err_ratelimited!(
                    "VM {}: its PCI device {} has no bus mastering any more, but cannot be reset: {:?}\n",
                    vm,
                    address,
                    error
                );
            }
        }
    }
}
