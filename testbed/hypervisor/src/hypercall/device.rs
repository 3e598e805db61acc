// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Passed-through and virtual devices: checks and books.

use crate::phys;
use crate::vm;
use acrn_uapi::{acrn_mmiodev, acrn_pcidev, acrn_ptdev_irq};
use mini_acrn_channel::vm_state::{CREATED, PAUSED};
use mini_acrn_logic::devices::{Device, Devices};
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::iotlb::{Entry, Iotlb};
use mini_acrn_logic::npt::{Access, PAGE};
use spin::Mutex;

/// Bytes that SET_PTDEV_INTR and RESET_PTDEV_INTR read: 4 more than `acrn_ptdev_irq` has.
const INTERRUPT_SIZE: u64 = 24;
/// Bytes of `acrn_vdev`.
const VIRTUAL_WORDS: usize = 192 / 8;

/// Who has what.
static DEVICES: Mutex<Devices> = Mutex::new(Devices::new());
/// Translations of those that are passed through.
static IOTLB: Mutex<Iotlb> = Mutex::new(Iotlb::new());

/// Number of the hypercall that adds; the next higher one removes.
const INTERRUPT: u8 = 0x53;
const PCI: u8 = 0x55;
const MMIO: u8 = 0x57;

/// The device that the structure at `gpa` names, for the hypercall that adds such devices.
fn device(add: u8, gpa: u64) -> Result<Device> {
    match add {
        INTERRUPT if !phys::is_service_ram(gpa, INTERRUPT_SIZE) => Err(Errno::GENERIC),
        INTERRUPT => Device::line(&phys::read::<acrn_ptdev_irq>(gpa).ok_or(Errno::GENERIC)?),
        PCI => Ok(Device::pci(&phys::read::<acrn_pcidev>(gpa).ok_or(Errno::FAULT)?)),
        MMIO => Device::mmio(&phys::read::<acrn_mmiodev>(gpa).ok_or(Errno::INVAL)?),
        _ => {
            let words: [u64; VIRTUAL_WORDS] = phys::read(gpa).ok_or(Errno::INVAL)?;
            Device::virt(words[0], words[1])
        }
    }
}

/// Adds or removes a device: hypercalls 53 to 5A.
pub fn change(number: u8, vmid: u64, gpa: u64) -> Result {
    let vm = vm::get(vmid)?;
    // They come in pairs that begin with an odd number.
    let adds = number & 1 == 1;
    let add = if adds { number } else { number - 1 };
    let states: &[u8] = if adds { &[CREATED] } else { &[CREATED, PAUSED] };
    let wrong_state = if add == INTERRUPT { Errno::GENERIC } else { Errno::INVAL };
    vm.require(states).map_err(|_| wrong_state)?;
    let device = device(add, gpa)?;
    let mut devices = DEVICES.lock();
    if adds {
        return devices.add(vm.id, device);
    }
    devices.remove(vm.id, &device)?;
    if let Device::Pci { phys, .. } = device {
        IOTLB.lock().flush(phys);
    }
    Ok(())
}

/// Takes all that a VM has.
pub fn clear(vmid: u16) {
    let mut devices = DEVICES.lock();
    devices.pci_of(vmid).for_each(|phys| IOTLB.lock().flush(phys));
    devices.clear(vmid);
}

/// Where the DMA of a passed-through device at a User VM's address goes. `None`: it is nobody's, or may not go there.
pub fn translate(phys_bdf: u16, gpa: u64, write: bool) -> Option<u64> {
    let owner = DEVICES.lock().owner_of_pci(phys_bdf)?;
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

/// How many entries a VM has.
pub fn count(vmid: u16) -> usize {
    DEVICES.lock().count(vmid)
}
