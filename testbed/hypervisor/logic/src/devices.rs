// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The devices that are assigned to VMs, with ACRN's checks.
//!
//! An assignment needs no real device: any PCI address and any range of memory can be assigned, to
//! one VM at a time.

use crate::errno::{Errno, Result};
use crate::ioapic::PINS;
use crate::npt::PAGE;
use acrn_uapi::{acrn_mmiodev, acrn_pcidev, acrn_ptdev_irq};
use alloc::vec::Vec;

/// Maximum number of devices of a VM.
pub const MAX: usize = 64;
/// Number of pins of the two PICs.
const PIC_PINS: u32 = 16;
/// Number of pins of the physical I/O APIC.
const PHYSICAL_PINS: u32 = 24;
/// `ACRN_PTDEV_IRQ_INTX`.
const INTX: u32 = 0;
/// The PCI address that means no device.
const NO_BDF: u16 = 0xFFFF;
/// The devices that the hypervisor emulates, by PCI vendor and device id: ivshmem.
const VIRTUAL: [u32; 1] = [0x1110_1AF4];

/// A range of device memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// Address in the User VM.
    pub user: u64,
    /// Physical address.
    pub host: u64,
    /// Length in bytes, 0 for no range.
    pub size: u64,
}

/// An assigned device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Device {
    /// A PCI device.
    Pci {
        /// Address in the User VM.
        virt: u16,
        /// Physical address.
        phys: u16,
    },
    /// The interrupt line of a PCI device.
    Intx {
        /// The PCI device: its address in the User VM, and its physical address.
        device: (u16, u16),
        /// Pin in the User VM.
        virt_pin: u32,
        /// Pin of the physical I/O APIC.
        phys_pin: u32,
        /// The virtual pin is one of the PICs.
        pic: bool,
    },
    /// A device without PCI, identified by its memory.
    Mmio {
        /// Name.
        name: [u8; 8],
        /// Its memory.
        ranges: [Range; 3],
    },
    /// A device that the hypervisor emulates.
    Virtual {
        /// Vendor and device id.
        id: u64,
        /// Address in the User VM.
        slot: u64,
    },
}

impl Device {
    /// Decodes the parameter of ASSIGN_PCIDEV and DEASSIGN_PCIDEV.
    pub fn pci(device: &acrn_pcidev) -> Self {
        Self::Pci { virt: device.virt_bdf, phys: device.phys_bdf }
    }

    /// Decodes the parameter of SET_PTDEV_INTR and RESET_PTDEV_INTR. Fails with `GENERIC` if it is
    /// not an interrupt line.
    pub fn intx(irq: &acrn_ptdev_irq) -> Result<Self> {
        if irq.type_ != INTX {
            return Err(Errno::GENERIC);
        }
        let device = (irq.virt_bdf, irq.phys_bdf);
        // ACRN uses one byte of the field.
        let pic = irq.intx.is_pic_pin as u8 != 0;
        Ok(Self::Intx { device, virt_pin: irq.intx.virt_pin, phys_pin: irq.intx.phys_pin, pic })
    }

    /// Decodes the parameter of ASSIGN_MMIODEV and DEASSIGN_MMIODEV. Fails with `EINVAL` if a range
    /// is not page-aligned.
    pub fn mmio(device: &acrn_mmiodev) -> Result<Self> {
        let ranges =
            device.res.map(|r| Range { user: r.user_vm_pa, host: r.service_vm_pa, size: r.size });
        if ranges.iter().any(|r| [r.user, r.host, r.size].iter().any(|v| !v.is_multiple_of(PAGE))) {
            return Err(Errno::INVAL);
        }
        Ok(Self::Mmio { name: device.name, ranges })
    }

    /// Decodes the parameter of CREATE_VDEV and DESTROY_VDEV. Fails with `EINVAL` if there is no
    /// such device.
    pub fn virt(id: u64, slot: u64) -> Result<Self> {
        if !VIRTUAL.contains(&(id as u32)) {
            return Err(Errno::INVAL);
        }
        Ok(Self::Virtual { id, slot })
    }

    /// Returns whether the device has neither a name nor memory. Assigning and removing it has no
    /// effect.
    fn is_empty(&self) -> bool {
        *self == Self::Mmio { name: [0; 8], ranges: [Range { user: 0, host: 0, size: 0 }; 3] }
    }

    /// Returns whether the two devices cannot both be assigned, not even to different VMs.
    fn conflicts_in_any_vm(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pci { phys: a, .. }, Self::Pci { phys: b, .. }) => a == b,
            (Self::Intx { phys_pin: a, .. }, Self::Intx { phys_pin: b, .. }) => a == b,
            (Self::Mmio { name: a, ranges: r }, Self::Mmio { name: b, ranges: s }) => {
                a == b || r.iter().any(|r| s.iter().any(|s| r.overlaps(s)))
            }
            _ => false,
        }
    }

    /// Returns whether one VM cannot have both.
    fn conflicts_in_same_vm(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Intx { virt_pin: a, pic: p, .. }, Self::Intx { virt_pin: b, pic: q, .. }) => {
                (a, p) == (b, q)
            }
            (Self::Virtual { slot: a, .. }, Self::Virtual { slot: b, .. }) => a == b,
            _ => false,
        }
    }

    /// Returns the error for a device that is assigned already, or is not assigned.
    fn conflict_errno(&self) -> Errno {
        match self {
            Self::Pci { .. } | Self::Intx { .. } => Errno::NODEV,
            Self::Mmio { .. } | Self::Virtual { .. } => Errno::INVAL,
        }
    }
}

impl Range {
    fn overlaps(&self, other: &Self) -> bool {
        self.host < other.host.saturating_add(other.size)
            && other.host < self.host.saturating_add(self.size)
    }
}

/// The assigned devices with their VM ids.
pub struct Assignments(Vec<(u16, Device)>);

impl Assignments {
    /// Creates a table without devices.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn of(&self, vm: u16) -> impl Iterator<Item = &Device> {
        self.0.iter().filter(move |(owner, _)| *owner == vm).map(|(_, device)| device)
    }

    /// Returns the number of devices of a VM.
    pub fn count(&self, vm: u16) -> usize {
        self.of(vm).count()
    }

    /// Returns the physical addresses of the PCI devices of a VM.
    pub fn pci_of(&self, vm: u16) -> impl Iterator<Item = u16> {
        self.of(vm).filter_map(|device| match device {
            Device::Pci { phys, .. } => Some(*phys),
            _ => None,
        })
    }

    /// Returns the VM that has a PCI device.
    pub fn owner_of_pci(&self, phys: u16) -> Option<u16> {
        let is_it = |d: &Device| matches!(d, Device::Pci { phys: p, .. } if *p == phys);
        self.0.iter().find(|(_, d)| is_it(d)).map(|(owner, _)| *owner)
    }

    /// Checks an interrupt line: it belongs to a device of the VM or to no device, and its virtual
    /// pin exists.
    fn check_intx(&self, vm: u16, device: &Device) -> Result {
        let Device::Intx { device: (virt, phys), virt_pin, pic, .. } = *device else {
            return Ok(());
        };
        let pins = if pic { PIC_PINS } else { PINS as u32 };
        let none = (virt, phys) == (NO_BDF, NO_BDF);
        let present = none || self.of(vm).any(|d| *d == Device::Pci { virt, phys });
        (present && virt_pin < pins).then_some(()).ok_or(Errno::GENERIC)
    }

    /// Assigns a device to a VM.
    pub fn add(&mut self, vm: u16, device: Device) -> Result {
        self.check_intx(vm, &device)?;
        if device.is_empty() {
            return Ok(());
        }
        if let Device::Intx { phys_pin, .. } = device {
            if phys_pin >= PHYSICAL_PINS {
                return Err(Errno::GENERIC);
            }
            // ACRN accepts a line that is already routed in the same way.
            if self.of(vm).any(|d| *d == device) {
                return Ok(());
            }
        }
        let taken = self.0.iter().any(|(_, d)| d.conflicts_in_any_vm(&device));
        if taken || self.of(vm).any(|d| d.conflicts_in_same_vm(&device)) || self.count(vm) >= MAX {
            return Err(device.conflict_errno());
        }
        self.0.push((vm, device));
        Ok(())
    }

    /// Removes a device from a VM.
    pub fn remove(&mut self, vm: u16, device: &Device) -> Result {
        self.check_intx(vm, device)?;
        match self.0.iter().position(|(owner, d)| *owner == vm && d == device) {
            Some(i) => drop(self.0.remove(i)),
            // Resetting a line that is not routed succeeds.
            None if matches!(device, Device::Intx { .. }) || device.is_empty() => {}
            None => return Err(device.conflict_errno()),
        }
        Ok(())
    }

    /// Removes all devices of a VM.
    pub fn clear(&mut self, vm: u16) {
        self.0.retain(|(owner, _)| *owner != vm);
    }
}

impl Default for Assignments {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCI: Device = Device::Pci { virt: 0x18, phys: 0x10 };

    fn intx(virt_pin: u32, phys_pin: u32, pic: bool) -> Device {
        Device::Intx { device: (0x18, 0x10), virt_pin, phys_pin, pic }
    }

    fn mmio(name: u8, host: u64, size: u64) -> Device {
        let none = Range { user: 0, host: 0, size: 0 };
        Device::Mmio {
            name: [name; 8],
            ranges: [Range { user: 0xD000_0000, host, size }, none, none],
        }
    }

    #[test]
    fn one_owner() {
        let mut d = Assignments::new();
        d.add(1, PCI).unwrap();
        assert_eq!(d.add(1, PCI), Err(Errno::NODEV));
        assert_eq!(d.add(2, Device::Pci { virt: 0x20, phys: 0x10 }), Err(Errno::NODEV));
        assert_eq!(d.remove(2, &PCI), Err(Errno::NODEV));
        d.remove(1, &PCI).unwrap();
        d.add(2, PCI).unwrap();
        d.clear(2);
        assert_eq!((d.count(1), d.count(2)), (0, 0));
        d.add(1, PCI).unwrap();
    }

    #[test]
    fn intx_needs_its_device() {
        let mut d = Assignments::new();
        assert_eq!(d.add(1, intx(4, 5, false)), Err(Errno::GENERIC));
        assert_eq!(d.remove(1, &intx(4, 5, false)), Err(Errno::GENERIC));
        d.add(1, PCI).unwrap();
        d.remove(1, &intx(4, 5, false)).unwrap();
        for _ in 0..2 {
            d.add(1, intx(4, 5, false)).unwrap();
        }
        assert_eq!(d.count(1), 2);
        assert_eq!(d.add(1, intx(4, 6, false)), Err(Errno::NODEV));
        assert_eq!(d.add(1, intx(6, 5, false)), Err(Errno::NODEV));
        d.add(1, intx(4, 6, true)).unwrap();
        for bad in [intx(48, 7, false), intx(16, 7, true), intx(7, 24, false)] {
            assert_eq!(d.add(1, bad), Err(Errno::GENERIC));
        }
        d.remove(1, &intx(4, 5, false)).unwrap();
        d.add(1, intx(6, 5, false)).unwrap();
    }

    #[test]
    fn memory_does_not_overlap() {
        let mut d = Assignments::new();
        d.add(1, mmio(1, 0x10_0000, 0x2000)).unwrap();
        assert_eq!(d.add(2, mmio(2, 0x10_1000, 0x1000)), Err(Errno::INVAL));
        assert_eq!(d.add(2, mmio(1, 0x20_0000, 0x1000)), Err(Errno::INVAL));
        d.add(2, mmio(2, 0x10_2000, 0x1000)).unwrap();
        assert_eq!(d.remove(2, &mmio(1, 0x10_0000, 0x2000)), Err(Errno::INVAL));
    }

    #[test]
    fn empty_devices_have_no_owner() {
        let nothing = Device::mmio(&acrn_mmiodev::default()).unwrap();
        let mut d = Assignments::new();
        for _ in 0..2 {
            d.add(1, nothing.clone()).unwrap();
            d.add(2, nothing.clone()).unwrap();
            d.remove(1, &nothing).unwrap();
        }
        assert_eq!(d.count(1), 0);
        let line = Device::Intx { device: (NO_BDF, NO_BDF), virt_pin: 4, phys_pin: 5, pic: false };
        d.add(1, line.clone()).unwrap();
        assert_eq!(d.add(2, line.clone()), Err(Errno::NODEV));
        d.remove(1, &line).unwrap();
    }

    #[test]
    fn the_owner_of_a_pci_device() {
        let mut d = Assignments::new();
        d.add(3, PCI).unwrap();
        assert_eq!((d.owner_of_pci(0x10), d.owner_of_pci(0x18)), (Some(3), None));
        assert_eq!((d.pci_of(3).count(), d.pci_of(1).count()), (1, 0));
    }

    #[test]
    fn virtual_devices_are_known_ones() {
        assert_eq!(Device::virt(0x1234, 8), Err(Errno::INVAL));
        let mut d = Assignments::new();
        let device = Device::virt(0x1110_1AF4, 8).unwrap();
        d.add(1, device.clone()).unwrap();
        assert_eq!(d.add(1, device.clone()), Err(Errno::INVAL));
        d.add(2, device.clone()).unwrap();
        d.remove(1, &device).unwrap();
        assert_eq!(d.remove(1, &device), Err(Errno::INVAL));
    }

    #[test]
    fn assignments_are_bounded() {
        let mut d = Assignments::new();
        for phys in 0..MAX as u16 {
            d.add(1, Device::Pci { virt: phys, phys }).unwrap();
        }
        assert_eq!(d.add(1, Device::Pci { virt: 0x100, phys: 0x100 }), Err(Errno::NODEV));
        d.add(2, Device::Pci { virt: 0x100, phys: 0x100 }).unwrap();
    }

    #[test]
    fn only_intx_and_whole_pages() {
        let mut irq = acrn_ptdev_irq { type_: 1, ..Default::default() };
        assert_eq!(Device::intx(&irq), Err(Errno::GENERIC));
        irq.type_ = 0x100;
        assert_eq!(Device::intx(&irq), Err(Errno::GENERIC));
        let mut device = acrn_mmiodev::default();
        assert!(Device::mmio(&device).is_ok());
        device.res[2].size = 0x800;
        assert_eq!(Device::mmio(&device), Err(Errno::INVAL));
    }
}
