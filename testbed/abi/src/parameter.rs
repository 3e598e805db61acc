// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Parameter structures of hypercalls.

use crate::Hypercall;
use acrn_uapi::{
    acrn_mmiodev, acrn_msi_entry, acrn_pcidev, acrn_ptdev_irq, acrn_vcpu_regs, acrn_vdev,
    acrn_vm_creation,
};
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `vmid` of no VM.
pub const INVALID_VMID: u16 = 0xFFFF;

/// SET_MEMORY_REGIONS (`struct set_regions`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MemoryRegions {
    /// The User VM.
    pub vmid: u16,
    /// Not used.
    pub reserved: [u16; 3],
    /// Number of entries of the array.
    pub mr_num: u32,
    /// Padding.
    pub reserved1: u32,
    /// Guest-physical address of an array of [`MemoryRegion`].
    pub regions_gpa: u64,
}

/// An entry of the array of [`MemoryRegions`] (`struct vm_memory_region`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MemoryRegion {
    /// [`Self::ADD`] or [`Self::DELETE`].
    pub type_: u32,
    /// `ACRN_MEM_ACCESS_* | ACRN_MEM_TYPE_*`.
    pub attr: u32,
    /// Address in the User VM.
    pub user_vm_pa: u64,
    /// Address of the memory in the Service VM.
    pub service_vm_pa: u64,
    /// Length in bytes, a multiple of the page size.
    pub size: u64,
}

impl MemoryRegion {
    /// `type_` of an entry that maps (`MR_ADD`).
    pub const ADD: u32 = 0;
    /// `type_` of an entry that unmaps (`MR_DEL`).
    pub const DELETE: u32 = 2;
}

/// VM_INTR_MONITOR (`struct acrn_intr_monitor`). It lies inside one page.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IntrMonitor {
    /// [`Self::GET`] or [`Self::DELAY`].
    pub cmd: u32,
    /// In: capacity of `buffer` in entries. Out, for [`Self::GET`]: entries written.
    pub buf_cnt: u32,
    /// Out, for [`Self::GET`]: pairs of an interrupt and its count.
    pub buffer: [u64; Self::BUFFER],
}

impl IntrMonitor {
    /// `cmd` that reads the counts (`INTR_CMD_GET_DATA`).
    pub const GET: u32 = 0;
    /// `cmd` that delays interrupts (`INTR_CMD_DELAY_INT`).
    pub const DELAY: u32 = 1;
    /// Entries of `buffer`.
    pub const BUFFER: usize = 48;
}

/// SET_PTDEV_INTR and RESET_PTDEV_INTR (`struct hc_ptdev_irq`). It is longer than the structure of
/// user space.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
pub struct PtdevIrq {
    /// The structure of user space.
    pub irq: acrn_ptdev_irq,
    /// Not used for interrupt lines.
    pub reserved: u32,
}

/// ASYNCIO_ASSIGN and ASYNCIO_DEASSIGN (`struct acrn_asyncio_info`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AsyncioInfo {
    /// 1 for port I/O, 2 for MMIO.
    pub type_: u32,
    /// 1 if only writes of `data` match.
    pub match_data: u32,
    /// Port or address.
    pub addr: u64,
    /// Value that the hypervisor puts into the ring.
    pub fd: u64,
    /// Value that a write must have if `match_data` is 1.
    pub data: u64,
}

/// SETUP_SBUF (`struct acrn_sbuf_param`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SbufParam {
    /// Physical CPU, 0xFFFF for a ring of the VM.
    pub cpu_id: u16,
    /// Not used.
    pub reserved: u16,
    /// Purpose of the ring: 64 for asynchronous I/O, 65 for VM events.
    pub sbuf_id: u32,
    /// Guest-physical address of the ring.
    pub gpa: u64,
}

/// A parameter that holds the guest-physical address of a structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parameter {
    /// RDI, and the length of the structure in bytes.
    First(usize),
    /// RSI, and the length of the structure in bytes.
    Second(usize),
}

impl Hypercall {
    /// Returns the parameter by which the hypercall reads a structure, `None` if it reads none.
    /// PM_GET_CPU_STATE only writes one.
    pub const fn parameter(self) -> Option<Parameter> {
        use Parameter::{First, Second};
        Some(match self {
            Self::CreateVm => First(size_of::<acrn_vm_creation>()),
            Self::SetMemoryRegions => First(size_of::<MemoryRegions>()),
            Self::SetVcpuRegs => Second(size_of::<acrn_vcpu_regs>()),
            Self::InjectMsi => Second(size_of::<acrn_msi_entry>()),
            Self::VmIntrMonitor => Second(size_of::<IntrMonitor>()),
            Self::SetIoreqBuffer => Second(size_of::<u64>()),
            Self::AsyncioAssign | Self::AsyncioDeassign => Second(size_of::<AsyncioInfo>()),
            Self::SetupSbuf => Second(size_of::<SbufParam>()),
            Self::SetPtdevIntr | Self::ResetPtdevIntr => Second(size_of::<PtdevIrq>()),
            Self::AssignPcidev | Self::DeassignPcidev => Second(size_of::<acrn_pcidev>()),
            Self::AssignMmiodev | Self::DeassignMmiodev => Second(size_of::<acrn_mmiodev>()),
            Self::CreateVdev | Self::DestroyVdev => Second(size_of::<acrn_vdev>()),
            Self::ServiceVmOfflineCpu
            | Self::SetCallbackVector
            | Self::DestroyVm
            | Self::StartVm
            | Self::PauseVm
            | Self::ResetVm
            | Self::SetIrqline
            | Self::NotifyRequestFinish
            | Self::PmGetCpuState => return None,
        })
    }
}

/// The command of PM_GET_CPU_STATE, its first parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PmCommand(pub u64);

impl PmCommand {
    /// Returns the type, `ACRN_PMCMD_*`.
    pub const fn type_(self) -> u32 {
        self.0 as u32 & 0xFF
    }

    /// Returns the number of the state: P-states count from 0, C-states from 1.
    pub const fn state(self) -> usize {
        (self.0 >> 8) as usize & 0xFF
    }

    /// Returns the vCPU.
    pub const fn vcpu(self) -> usize {
        (self.0 >> 16) as usize & 0xFF
    }

    /// Returns the VM.
    pub const fn vmid(self) -> u16 {
        (self.0 >> 24) as u16 & 0xFF
    }
}

const _: () = {
    assert!(size_of::<MemoryRegions>() == 24);
    assert!(offset_of!(MemoryRegions, mr_num) == 8);
    assert!(offset_of!(MemoryRegions, regions_gpa) == 16);
    assert!(size_of::<MemoryRegion>() == 32);
    assert!(offset_of!(MemoryRegion, attr) == 4);
    assert!(offset_of!(MemoryRegion, user_vm_pa) == 8);
    assert!(offset_of!(MemoryRegion, service_vm_pa) == 16);
    assert!(offset_of!(MemoryRegion, size) == 24);
    assert!(size_of::<IntrMonitor>() == 392);
    assert!(offset_of!(IntrMonitor, buf_cnt) == 4);
    assert!(offset_of!(IntrMonitor, buffer) == 8);
    assert!(size_of::<PtdevIrq>() == 24);
    assert!(size_of::<AsyncioInfo>() == 32);
    assert!(offset_of!(AsyncioInfo, match_data) == 4);
    assert!(offset_of!(AsyncioInfo, addr) == 8);
    assert!(offset_of!(AsyncioInfo, fd) == 16);
    assert!(offset_of!(AsyncioInfo, data) == 24);
    assert!(size_of::<SbufParam>() == 16);
    assert!(offset_of!(SbufParam, sbuf_id) == 4);
    assert!(offset_of!(SbufParam, gpa) == 8);
    // The structures of user space, as long as the hypervisor expects them.
    assert!(size_of::<acrn_vm_creation>() == 48);
    assert!(size_of::<acrn_vcpu_regs>() == 296);
    assert!(size_of::<acrn_msi_entry>() == 16);
    assert!(size_of::<acrn_pcidev>() == 36);
    assert!(size_of::<acrn_mmiodev>() == 104);
    assert!(size_of::<acrn_vdev>() == 192);
};
