// SPDX-License-Identifier: GPL-2.0

//! The devices that are passed through to a VM.
//!
//! When the hypervisor destroys a VM that still has PCI devices, it returns them to the Service
//! VM's IOMMU domain as they are. A device with DMA in progress then writes to the Service VM's
//! memory. It does not return MMIO devices at all, so the driver does that first.

use crate::{
    abstractions::{
        contiguous::Contiguous,
        pci::{
            PciAddress,
            PciFunction, //
        },
        ratelimit::pr_err_ratelimited,
    },
    hypercall::{
        self,
        MmioDevice,
        VmId, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        global_lock,
        GlobalGuard, //
    },
};

global_lock! {
    /// Held while a VM gets a PCI device, and from before DESTROY_VM until the VM's devices are
    /// quiesced, so that none has a new owner before.
    // SAFETY: `registry::Service::new` initialises it before the device, the upcall and the reboot
    // notifier exist, and all other uses come from those.
    pub(crate) unsafe(uninit) static PCI_OWNERS: Mutex<()> = ();
}

/// The most MMIO devices of a VM.
const MAX_MMIO_DEVICES: usize = 64;

struct MmioAssignment {
    device: Contiguous<MmioDevice>,
    /// Not once it was given back, before DESTROY_VM.
    is_assigned: bool,
}

/// The devices of a VM.
#[derive(Default)]
pub(crate) struct PassthroughDevices {
    /// Contains each once.
    mmio: KVec<MmioAssignment>,
    /// Contains each once.
    pci: KVec<PciAddress>,
    /// The number of PCI devices that were taken, but that the VM has if it still exists.
    taken: usize,
}

impl PassthroughDevices {
    /// Passes an MMIO device through to the VM `vm`.
    ///
    /// Fails with `ENOSPC` if the VM has too many.
    pub(crate) fn assign_mmio(&mut self, vm: VmId, device: Contiguous<MmioDevice>) -> Result {
        if self.mmio.len() >= MAX_MMIO_DEVICES {
            return Err(ENOSPC);
        }
        self.mmio.reserve(1, GFP_KERNEL_ACCOUNT)?;
        hypercall::assign_mmiodev(vm, &device)?;
        self.forget_mmio(&device);
        let _ = self.mmio.push_within_capacity(MmioAssignment {
            device,
            is_assigned: true,
        });
        Ok(())
    }

    /// Takes an MMIO device back from the VM `vm`.
    pub(crate) fn deassign_mmio(&mut self, vm: VmId, device: &Contiguous<MmioDevice>) -> Result {
        hypercall::deassign_mmiodev(vm, device)?;
        self.forget_mmio(device);
        Ok(())
    }

    fn forget_mmio(&mut self, device: &MmioDevice) {
        self.mmio.retain(|known| !known.device.is_same(device));
    }

    /// Gives the MMIO devices back to the Service VM, before DESTROY_VM of the VM `vm`.
    pub(crate) fn give_back_mmio(&mut self, vm: VmId) {
        for mmio in self.mmio.iter_mut().filter(|mmio| mmio.is_assigned) {
            mmio.is_assigned = hypercall::deassign_mmiodev(vm, &mmio.device).is_err();
        }
    }

    /// Undoes [`Self::give_back_mmio`], because DESTROY_VM did nothing.
    pub(crate) fn assign_mmio_again(&mut self, vm: VmId) {
        for mmio in self.mmio.iter_mut().filter(|mmio| !mmio.is_assigned) {
            match hypercall::assign_mmiodev(vm, &mmio.device) {
                Ok(()) => mmio.is_assigned = true,
                Err(error) => pr_err_ratelimited!(
                    "VM {}: an MMIO device cannot be assigned again: {:?}\n",
                    vm,
                    error
                ),
            }
        }
    }

    /// Reserves room for another PCI device.
    pub(crate) fn reserve(&mut self) -> Result {
        self.pci.reserve(1, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Adds a PCI device for which room was reserved. `bdf` has the bus in bits 15:8, the device in
    /// bits 7:3 and the function in bits 2:0.
    pub(crate) fn add(&mut self, bdf: u16) {
        let address = PciAddress::from_bdf(bdf);
        if !self.pci.contains(&address) {
            let _ = self.pci.push_within_capacity(address);
        }
    }

    /// Removes a PCI device.
    pub(crate) fn remove(&mut self, bdf: u16) {
        self.pci.retain(|known| *known != PciAddress::from_bdf(bdf));
    }

    /// Returns the most PCI devices that the VM may have.
    pub(crate) fn count(&self) -> usize {
        self.pci.len() + self.taken
    }

    /// Returns whether the VM has PCI devices.
    pub(crate) fn have_pci(&self) -> bool {
        !self.pci.is_empty()
    }

    /// Takes the PCI devices of the VM `vm`, which the hypervisor has destroyed, or may have
    /// destroyed, and forgets the MMIO devices that were given back.
    pub(crate) fn take(&mut self, vm: VmId) -> PciDevices {
        self.mmio.retain(|mmio| mmio.is_assigned);
        if !self.mmio.is_empty() {
            pr_err_ratelimited!("VM {}: an MMIO device was not given back\n", vm);
        }
        self.taken += self.pci.len();
        PciDevices(core::mem::take(&mut self.pci))
    }
}

/// PCI devices that the hypervisor has returned to the Service VM.
#[must_use = "they may do DMA to memory of the Service VM"]
#[derive(Default)]
pub(crate) struct PciDevices(KVec<PciAddress>);

impl PciDevices {
    /// Stops the devices, after the hypervisor has destroyed the VM `vm`: clears bus mastering and
    /// resets the functions. Sleeps for about 100 ms per device, and for up to 60 s for one that
    /// does not respond.
    ///
    /// The lock must have been taken before DESTROY_VM. Otherwise the devices may belong to another
    /// VM by now.
    pub(crate) fn quiesce(self, vm: VmId, _owners: &GlobalGuard<PCI_OWNERS>) {
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
