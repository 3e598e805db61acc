// SPDX-License-Identifier: GPL-2.0

//! Numbers of ACRN's hypercalls, as they appear in the trace, and their names.

#![allow(missing_docs, reason = "the names are ACRN's")]

pub const SERVICE_VM_OFFLINE_CPU: u32 = 0x8000_0001;
pub const SET_CALLBACK_VECTOR: u32 = 0x8000_0002;
pub const CREATE_VM: u32 = 0x8000_0010;
pub const DESTROY_VM: u32 = 0x8000_0011;
pub const START_VM: u32 = 0x8000_0012;
pub const PAUSE_VM: u32 = 0x8000_0013;
pub const RESET_VM: u32 = 0x8000_0015;
pub const SET_VCPU_REGS: u32 = 0x8000_0016;
pub const INJECT_MSI: u32 = 0x8000_0023;
pub const VM_INTR_MONITOR: u32 = 0x8000_0024;
pub const SET_IRQLINE: u32 = 0x8000_0025;
pub const SET_IOREQ_BUFFER: u32 = 0x8000_0030;
pub const NOTIFY_REQUEST_FINISH: u32 = 0x8000_0031;
pub const SET_MEMORY_REGIONS: u32 = 0x8000_0042;
pub const SET_PTDEV_INTR: u32 = 0x8000_0053;
pub const RESET_PTDEV_INTR: u32 = 0x8000_0054;
pub const ASSIGN_PCIDEV: u32 = 0x8000_0055;
pub const DEASSIGN_PCIDEV: u32 = 0x8000_0056;
pub const ASSIGN_MMIODEV: u32 = 0x8000_0057;
pub const DEASSIGN_MMIODEV: u32 = 0x8000_0058;
pub const CREATE_VDEV: u32 = 0x8000_0059;
pub const DESTROY_VDEV: u32 = 0x8000_005a;
pub const PM_GET_CPU_STATE: u32 = 0x8000_0080;

/// ACRN's name of a hypercall.
pub fn name(id: u32) -> String {
    let name = match id {
        SERVICE_VM_OFFLINE_CPU => "SERVICE_VM_OFFLINE_CPU",
        SET_CALLBACK_VECTOR => "SET_CALLBACK_VECTOR",
        CREATE_VM => "CREATE_VM",
        DESTROY_VM => "DESTROY_VM",
        START_VM => "START_VM",
        PAUSE_VM => "PAUSE_VM",
        RESET_VM => "RESET_VM",
        SET_VCPU_REGS => "SET_VCPU_REGS",
        INJECT_MSI => "INJECT_MSI",
        VM_INTR_MONITOR => "VM_INTR_MONITOR",
        SET_IRQLINE => "SET_IRQLINE",
        SET_IOREQ_BUFFER => "SET_IOREQ_BUFFER",
        NOTIFY_REQUEST_FINISH => "NOTIFY_REQUEST_FINISH",
        SET_MEMORY_REGIONS => "SET_MEMORY_REGIONS",
        SET_PTDEV_INTR => "SET_PTDEV_INTR",
        RESET_PTDEV_INTR => "RESET_PTDEV_INTR",
        ASSIGN_PCIDEV => "ASSIGN_PCIDEV",
        DEASSIGN_PCIDEV => "DEASSIGN_PCIDEV",
        ASSIGN_MMIODEV => "ASSIGN_MMIODEV",
        DEASSIGN_MMIODEV => "DEASSIGN_MMIODEV",
        CREATE_VDEV => "CREATE_VDEV",
        DESTROY_VDEV => "DESTROY_VDEV",
        PM_GET_CPU_STATE => "PM_GET_CPU_STATE",
        _ => return format!("hypercall {id:#x}"),
    };
    name.to_owned()
}
