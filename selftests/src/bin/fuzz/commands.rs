// SPDX-License-Identifier: GPL-2.0

//! A nearly valid argument for each command.

use core::mem::offset_of;
use std::{
    os::fd::{AsFd, AsRawFd},
    sync::atomic::Ordering,
};

use acrn_selftests::{guest_memory::PAGE, physical::FIRMWARE};
use acrn_uapi::{ioctl::*, *};

use crate::{
    actor::Actor,
    argument::{Structure, edge, near},
    guest::{self, PORTS, SEGMENT},
    stage::{EVENTS, FILES},
};

/// CPUs that the machine has. Others must not be requested: ACRN does not check that, and a driver
/// cannot.
const MACHINE_CPUS: u64 = 0xff;
/// Guest addresses of memory. They are few, so that the hypervisor's page tables suffice.
const GUEST_BASES: [u64; 6] = [0, 0, 0, 0x10_0000, 0xc000_0000, 0x1_0000_0000];
/// Physical addresses that may be given to a guest, and kernel memory, which may not.
const PHYSICAL: [u64; 4] = [FIRMWARE, FIRMWARE, 0x10_0000, 0x800_0000];
/// First address of PCI functions that the machine does not have.
const ABSENT_BDF: u16 = 0xff00;

/// The argument of a command.
#[allow(
    clippy::large_enum_variant,
    reason = "children have no heap to put it on"
)]
pub enum Passed {
    Number(u64),
    Structure(Structure),
}

impl Actor<'_> {
    /// Returns an argument for `request` on the file with this number.
    pub fn argument(&mut self, request: u32, file: usize) -> Passed {
        let mut structure = Structure::new(request);
        match request {
            ACRN_IOCTL_CREATE_VM => self.creation(&mut structure, file),
            ACRN_IOCTL_SET_VCPU_REGS => {
                guest::registers(&mut structure);
                let vcpu = near(&mut self.chance, 0) as u16;
                structure.put(offset_of!(acrn_vcpu_regs, vcpu_id), &vcpu.to_le_bytes());
            }
            ACRN_IOCTL_INJECT_MSI => {
                self.msi(&mut structure, 0);
            }
            ACRN_IOCTL_SET_IRQLINE => {
                let line = self.chance.u64(..50) | self.chance.u64(..5) << 32;
                return Passed::Number(near(&mut self.chance, line));
            }
            ACRN_IOCTL_NOTIFY_REQUEST_FINISH => {
                let vmid = self.vmid(file);
                let vcpu = near(&mut self.chance, 0) as u32;
                structure
                    .put(offset_of!(acrn_ioreq_notify, vmid), &vmid.to_le_bytes())
                    .put(offset_of!(acrn_ioreq_notify, vcpu), &vcpu.to_le_bytes());
            }
            ACRN_IOCTL_SET_MEMSEG | ACRN_IOCTL_UNSET_MEMSEG => self.segment(&mut structure),
            ACRN_IOCTL_SET_PTDEV_INTR | ACRN_IOCTL_RESET_PTDEV_INTR => {
                let kind = self.chance.u32(..3);
                structure
                    .put(offset_of!(acrn_ptdev_irq, type_), &kind.to_le_bytes())
                    .put(
                        offset_of!(acrn_ptdev_irq, phys_bdf),
                        &self.bdf().to_le_bytes(),
                    );
            }
            ACRN_IOCTL_ASSIGN_PCIDEV | ACRN_IOCTL_DEASSIGN_PCIDEV => {
                let bdf = self.bdf();
                structure.put(offset_of!(acrn_pcidev, phys_bdf), &bdf.to_le_bytes());
                // The structure is not spoilt, because a device of the machine would be reset.
                return Passed::Structure(structure);
            }
            ACRN_IOCTL_PM_GET_CPU_STATE => {
                let vmid = u64::from(self.vmid(file));
                let command = self.chance.u64(..5) | vmid << 24 | self.chance.u64(..3) << 8;
                structure.put(0, &near(&mut self.chance, command).to_le_bytes());
            }
            ACRN_IOCTL_IOEVENTFD => self.ioeventfd(&mut structure),
            ACRN_IOCTL_IRQFD => {
                let fd = self.descriptor();
                let deassign = self.chance.u32(..2) * ACRN_IRQFD_FLAG_DEASSIGN;
                let flags = near(&mut self.chance, deassign.into()) as u32;
                self.msi(&mut structure, offset_of!(acrn_irqfd, msi))
                    .put(offset_of!(acrn_irqfd, fd), &fd.to_le_bytes())
                    .put(offset_of!(acrn_irqfd, flags), &flags.to_le_bytes());
            }
            ACRN_IOCTL_ASSIGN_MMIODEV
            | ACRN_IOCTL_DEASSIGN_MMIODEV
            | ACRN_IOCTL_CREATE_VDEV
            | ACRN_IOCTL_DESTROY_VDEV => {
                let name = self.chance.u64(..4);
                structure.put(0, &name.to_le_bytes());
            }
            ACRN_IOCTL_VM_INTR_MONITOR => {}
            // Commands without an argument.
            _ => return Passed::Number(edge(&mut self.chance)),
        }
        structure.spoil(&mut self.chance);
        Passed::Structure(structure)
    }

    fn creation(&mut self, structure: &mut Structure, file: usize) {
        let page = self.chance.usize(..4);
        let page = self.stage.arenas[0].address(page);
        // The request page is occasionally invalid.
        let page = match self.chance.u32(..16) {
            0 => page + 8,
            1 => 0,
            2 => 0xffff_8880_0000_1000,
            3 => self.stage.arenas[self.stage.arenas.len() - 1].address(0),
            _ => page,
        };
        let any = self.chance.u64(..) & self.chance.u64(..);
        let cpus = match self.chance.u32(..16) {
            0 => any & MACHINE_CPUS,
            1 => 0,
            _ => self.stage.cpus[file],
        };
        // A VM mostly has the name of its file, and thereby the same id each time.
        let name = near(&mut self.chance, file as u64);
        structure
            .put(offset_of!(acrn_vm_creation, uuid), b"fuzz")
            .put(offset_of!(acrn_vm_creation, uuid) + 4, &name.to_le_bytes())
            .fix(offset_of!(acrn_vm_creation, ioreq_buf), page)
            .fix(offset_of!(acrn_vm_creation, cpu_affinity), cpus);
    }

    fn segment(&mut self, structure: &mut Structure) {
        let arena = self.chance.usize(..self.stage.arenas.len());
        let (page, pages) = self.stage.arenas[arena].range(&mut self.chance);
        let is_ram = self.chance.u32(..8) != 0;
        let address = match (self.chance.u32(..32), is_ram) {
            (0, _) => 0,
            (1, _) => 0xffff_8880_0000_1000,
            (2, _) => self.stage.arenas[arena].address(page) + 1,
            (_, true) => self.stage.arenas[arena].address(page),
            (_, false) => PHYSICAL[self.chance.usize(..PHYSICAL.len())],
        };
        let base = GUEST_BASES[self.chance.usize(..GUEST_BASES.len())];
        let first = self.chance.usize(..64);
        let guest = near(&mut self.chance, base + (first * PAGE) as u64);
        // A guest that can run has memory for its program at 0.
        let guest = if self.chance.u32(..4) == 0 { 0 } else { guest };
        let len = near(&mut self.chance, (pages * PAGE) as u64);
        let kind = if is_ram {
            ACRN_MEMMAP_RAM
        } else {
            ACRN_MEMMAP_MMIO
        };
        let attr = ACRN_MEM_TYPE_WB | self.chance.u32(..8);
        structure
            .put(offset_of!(acrn_vm_memmap, type_), &kind.to_le_bytes())
            .put(offset_of!(acrn_vm_memmap, attr), &attr.to_le_bytes())
            .fix(offset_of!(acrn_vm_memmap, __bindgen_anon_1), address)
            .put(offset_of!(acrn_vm_memmap, user_vm_pa), &guest.to_le_bytes())
            .put(offset_of!(acrn_vm_memmap, len), &len.to_le_bytes());
        // The type determines whether the address is a user address.
        structure.keep(offset_of!(acrn_vm_memmap, type_), 4);
    }

    fn ioeventfd(&mut self, structure: &mut Structure) {
        let fd = self.descriptor();
        let is_port = self.chance.bool();
        let address = match is_port {
            true => PORTS[self.chance.usize(..PORTS.len())].into(),
            false => u64::from(SEGMENT) * 16 + 0x10,
        };
        let address = near(&mut self.chance, address);
        let len = 1 << self.chance.u32(..4);
        let len = near(&mut self.chance, len) as u32;
        let flags = [
            (is_port, ACRN_IOEVENTFD_FLAG_PIO),
            (self.chance.bool(), ACRN_IOEVENTFD_FLAG_DATAMATCH),
            (self.chance.bool(), ACRN_IOEVENTFD_FLAG_DEASSIGN),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
        let flags = flags.fold(0, |flags, (_, flag)| flags | flag);
        let data = edge(&mut self.chance);
        structure
            .put(offset_of!(acrn_ioeventfd, fd), &fd.to_le_bytes())
            .put(offset_of!(acrn_ioeventfd, flags), &flags.to_le_bytes())
            .put(offset_of!(acrn_ioeventfd, addr), &address.to_le_bytes())
            .put(offset_of!(acrn_ioeventfd, len), &len.to_le_bytes())
            .put(offset_of!(acrn_ioeventfd, data), &data.to_le_bytes());
    }

    fn msi<'a>(&mut self, structure: &'a mut Structure, offset: usize) -> &'a mut Structure {
        let address = 0xfee0_0000 | self.chance.u64(..10) << 12;
        let address = near(&mut self.chance, address);
        let vector = self.chance.u64(0x20..0x100);
        let vector = near(&mut self.chance, vector);
        structure
            .put(offset, &address.to_le_bytes())
            .put(offset + 8, &vector.to_le_bytes())
    }

    /// Returns mostly a descriptor of an eventfd, which may have been replaced.
    fn descriptor(&mut self) -> i32 {
        let event = self.stage.events[self.chance.usize(..EVENTS)].as_raw_fd();
        match self.chance.u32(..32) {
            0 => -1,
            1 => self.chance.i32(..),
            2 => self.stage.files[0].as_fd().as_raw_fd(),
            _ => event,
        }
    }

    fn bdf(&mut self) -> u16 {
        ABSENT_BDF | self.chance.u16(..4)
    }

    /// Returns mostly the id of the file's VM, and otherwise that of another one, or an invalid
    /// one.
    pub fn vmid(&mut self, file: usize) -> u16 {
        let other = self.chance.usize(..FILES);
        let other = if self.chance.u32(..8) == 0 {
            other
        } else {
            file
        };
        let vmid = self.stage.vmids[other].load(Ordering::Relaxed);
        near(&mut self.chance, vmid.into()) as u16
    }
}
