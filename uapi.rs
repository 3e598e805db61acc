// SPDX-License-Identifier: GPL-2.0

//! The interface to user space: `uapi/acrn.h` in Rust.

pub(crate) use crate::abstractions::uapi_types::*;

/// Command numbers (`ACRN_IOCTL_*`), which bindgen cannot evaluate.
pub(crate) mod command {
    use super::*;
    use kernel::ioctl::{
        _IO,
        _IOW,
        _IOWR, //
    };

    /// `ACRN_IOCTL_TYPE`.
    const TYPE: u32 = 0xA2;

    pub(crate) const CREATE_VM: u32 = _IOWR::<acrn_vm_creation>(TYPE, 0x10);
    pub(crate) const DESTROY_VM: u32 = _IO(TYPE, 0x11);
    pub(crate) const START_VM: u32 = _IO(TYPE, 0x12);
    pub(crate) const PAUSE_VM: u32 = _IO(TYPE, 0x13);
    pub(crate) const RESET_VM: u32 = _IO(TYPE, 0x15);
    pub(crate) const SET_VCPU_REGS: u32 = _IOW::<acrn_vcpu_regs>(TYPE, 0x16);
    pub(crate) const INJECT_MSI: u32 = _IOW::<acrn_msi_entry>(TYPE, 0x23);
    pub(crate) const SET_IRQLINE: u32 = _IOW::<u64>(TYPE, 0x25);
    pub(crate) const NOTIFY_REQUEST_FINISH: u32 = _IOW::<acrn_ioreq_notify>(TYPE, 0x31);
    pub(crate) const CREATE_IOREQ_CLIENT: u32 = _IO(TYPE, 0x32);
    pub(crate) const ATTACH_IOREQ_CLIENT: u32 = _IO(TYPE, 0x33);
    pub(crate) const DESTROY_IOREQ_CLIENT: u32 = _IO(TYPE, 0x34);
    pub(crate) const CLEAR_VM_IOREQ: u32 = _IO(TYPE, 0x35);
    pub(crate) const SET_MEMSEG: u32 = _IOW::<acrn_vm_memmap>(TYPE, 0x41);
    pub(crate) const UNSET_MEMSEG: u32 = _IOW::<acrn_vm_memmap>(TYPE, 0x42);
}
