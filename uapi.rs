// SPDX-License-Identifier: GPL-2.0

//! The interface to user space: `uapi/acrn.h` in Rust.

pub(crate) use crate::abstractions::uapi::*;

/// Command numbers (`ACRN_IOCTL_*`), which bindgen cannot evaluate.
pub(crate) mod command {
    use super::*;
    use kernel::{
        ffi,
        ioctl::{
            _IO,
            _IOW,
            _IOWR, //
        },
    };

    /// `ACRN_IOCTL_TYPE`.
    const TYPE: u32 = 0xA2;
    /// Bytes of `acrn_vcpu_regs` where 64-bit numbers are aligned to 4 bytes.
    pub(crate) const VCPU_REGS_I386: usize = size_of::<acrn_vcpu_regs>() - 4;

    pub(crate) const CREATE_VM: u32 = _IOWR::<acrn_vm_creation>(TYPE, 0x10);
    pub(crate) const DESTROY_VM: u32 = _IO(TYPE, 0x11);
    pub(crate) const START_VM: u32 = _IO(TYPE, 0x12);
    pub(crate) const PAUSE_VM: u32 = _IO(TYPE, 0x13);
    pub(crate) const RESET_VM: u32 = _IO(TYPE, 0x15);
    pub(crate) const SET_VCPU_REGS: u32 = _IOW::<acrn_vcpu_regs>(TYPE, 0x16);
    /// SET_VCPU_REGS of 32-bit user space: without the padding behind the last member.
    pub(crate) const SET_VCPU_REGS_I386: u32 = _IOW::<[u8; VCPU_REGS_I386]>(TYPE, 0x16);
    pub(crate) const INJECT_MSI: u32 = _IOW::<acrn_msi_entry>(TYPE, 0x23);
    pub(crate) const VM_INTR_MONITOR: u32 = _IOW::<ffi::c_ulong>(TYPE, 0x24);
    /// VM_INTR_MONITOR of 32-bit user space: its `unsigned long` is shorter.
    pub(crate) const VM_INTR_MONITOR_I386: u32 = _IOW::<u32>(TYPE, 0x24);
    pub(crate) const SET_IRQLINE: u32 = _IOW::<u64>(TYPE, 0x25);
    pub(crate) const NOTIFY_REQUEST_FINISH: u32 = _IOW::<acrn_ioreq_notify>(TYPE, 0x31);
    pub(crate) const CREATE_IOREQ_CLIENT: u32 = _IO(TYPE, 0x32);
    pub(crate) const ATTACH_IOREQ_CLIENT: u32 = _IO(TYPE, 0x33);
    pub(crate) const DESTROY_IOREQ_CLIENT: u32 = _IO(TYPE, 0x34);
    pub(crate) const CLEAR_VM_IOREQ: u32 = _IO(TYPE, 0x35);
    pub(crate) const SET_MEMSEG: u32 = _IOW::<acrn_vm_memmap>(TYPE, 0x41);
    pub(crate) const UNSET_MEMSEG: u32 = _IOW::<acrn_vm_memmap>(TYPE, 0x42);
    pub(crate) const SET_PTDEV_INTR: u32 = _IOW::<acrn_ptdev_irq>(TYPE, 0x53);
    pub(crate) const RESET_PTDEV_INTR: u32 = _IOW::<acrn_ptdev_irq>(TYPE, 0x54);
    pub(crate) const ASSIGN_PCIDEV: u32 = _IOW::<acrn_pcidev>(TYPE, 0x55);
    pub(crate) const DEASSIGN_PCIDEV: u32 = _IOW::<acrn_pcidev>(TYPE, 0x56);
    pub(crate) const ASSIGN_MMIODEV: u32 = _IOW::<acrn_mmiodev>(TYPE, 0x57);
    pub(crate) const DEASSIGN_MMIODEV: u32 = _IOW::<acrn_mmiodev>(TYPE, 0x58);
    pub(crate) const CREATE_VDEV: u32 = _IOW::<acrn_vdev>(TYPE, 0x59);
    pub(crate) const DESTROY_VDEV: u32 = _IOW::<acrn_vdev>(TYPE, 0x5A);
    pub(crate) const PM_GET_CPU_STATE: u32 = _IOWR::<u64>(TYPE, 0x60);
    pub(crate) const IOEVENTFD: u32 = _IOW::<acrn_ioeventfd>(TYPE, 0x70);
    pub(crate) const IRQFD: u32 = _IOW::<acrn_irqfd>(TYPE, 0x71);
}
