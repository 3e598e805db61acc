// SPDX-License-Identifier: GPL-2.0

//! Numbers of ACRN's hypercalls, as they appear in the trace.

#![allow(missing_docs, reason = "the names are ACRN's")]

pub const CREATE_VM: u32 = 0x8000_0010;
pub const DESTROY_VM: u32 = 0x8000_0011;
pub const START_VM: u32 = 0x8000_0012;
pub const PAUSE_VM: u32 = 0x8000_0013;
pub const RESET_VM: u32 = 0x8000_0015;
pub const SET_VCPU_REGS: u32 = 0x8000_0016;
pub const INJECT_MSI: u32 = 0x8000_0023;
pub const SET_IRQLINE: u32 = 0x8000_0025;
pub const SET_IOREQ_BUFFER: u32 = 0x8000_0030;
pub const NOTIFY_REQUEST_FINISH: u32 = 0x8000_0031;
pub const SET_MEMORY_REGIONS: u32 = 0x8000_0042;
