// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Passed-through devices and devices that the hypervisor emulates.

use crate::phys;
use crate::vm::{self, Vm};
use acrn_hypercall_abi::PtdevIrq;
use acrn_uapi::{acrn_mmiodev, acrn_pcidev, acrn_vdev};
use mini_acrn_channel::vm_state::{CREATED, PAUSED};
use mini_acrn_logic::devices::{Assignments, Device};
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::iotlb::{Entry, Iotlb};
use mini_acrn_logic::npt::{Access, PAGE};
use spin::Mutex;

/// The devices of each VM.
static ASSIGNMENTS: Mutex<Assignments> = Mutex::new(Assignments::new());
/// The translations of passed-through devices.
static IOTLB: Mutex<Iotlb> = Mutex::new(Iotlb::new());

/// The kind of a device. Each kind has its own hypercalls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Interrupt line of a PCI device.
    Intx,
    /// PCI device.
    Pci,
    /// MMIO device.
    Mmio,
    /// Device that the hypervisor emulates.
    Virtual,
}

/// Returns the device of the structure at `gpa`.
fn device(kind: Kind, gpa: u64) -> Result<Device> {
    match kind {
        Kind::Intx => Device::intx(&phys::read::<PtdevIrq>(gpa).ok_or(Errno::GENERIC)?.irq),
        Kind::Pci => Ok(Device::pci(&phys::read::<acrn_pcidev>(gpa).ok_or(Errno::FAULT)?)),
        Kind::Mmio => Device::mmio(&phys::read::<acrn_mmiodev>(gpa).ok_or(Errno::INVAL)?),
        Kind::Virtual => {
            let words: [u64; size_of::<acrn_vdev>() / 8] = phys::read(gpa).ok_or(Errno::INVAL)?;
            Device::virt(words[0], words[1])
        }
    }
}

/// Returns the VM and the device of the structure at `gpa`. Fails unless the VM is in one of
/// `states`.
fn parameters(kind: Kind, vmid: u64, gpa: u64, states: &[u8]) -> Result<(&'static Vm, Device)> {
    let vm = vm::get(vmid)?;
    let wrong_state = if kind == Kind::Intx { Errno::GENERIC } else { Errno::INVAL };
    vm.require(states).map_err(|_| wrong_state)?;
    Ok((vm, device(kind, gpa)?))
}

/// Assigns a device to a VM.
pub fn assign(kind: Kind, vmid: u64, gpa: u64) -> Result {
    let (vm, device) = parameters(kind, vmid, gpa, &[CREATED])?;
    ASSIGNMENTS.lock().add(vm.id, device)
}

/// Removes a device from a VM.
pub fn deassign(kind: Kind, vmid: u64, gpa: u64) -> Result {
    let (vm, device) = parameters(kind, vmid, gpa, &[CREATED, PAUSED])?;
    ASSIGNMENTS.lock().remove(vm.id, &device)?;
    if let Device::Pci { phys, .. } = device {
        IOTLB.lock().flush(phys);
    }
    Ok(())
}

/// Removes all devices of a VM.
pub fn clear(vmid: u16) {
    let mut devices = ASSIGNMENTS.lock();
    devices.pci_of(vmid).for_each(|phys| IOTLB.lock().flush(phys));
    devices.clear(vmid);
}

/// Translates the address of a DMA of a passed-through device. Returns `None` if no VM has the
/// device, or if the access is not allowed.
pub fn translate(phys_bdf: u16, gpa: u64, write: bool) -> Option<u64> {
    let owner = ASSIGNMENTS.lock().owner_of_pci(phys_bdf)?;
    let iotlb = &mut *IOTLB.lock();
    let (page, offset) = (gpa & !(PAGE - 1), gpa & (PAGE - 1));
    let known = iotlb.find(phys_bdf, page);
    let entry = known.or_else(|| {
        let leaf = vm::get(owner.into()).ok()?.query(page)?;
        let entry = Entry { target: leaf.target, writable: leaf.access.contains(Access::WRITE) };
        iotlb.insert(phys_bdf, page, entry);
        Some(entry)
    })?;
    (entry.writable || !write).then_some(entry.target + offset)
}

/// Returns the number of devices of a VM.
pub fn count(vmid: u16) -> usize {
    ASSIGNMENTS.lock().count(vmid)
}
