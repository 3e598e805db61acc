// SPDX-License-Identifier: GPL-2.0

//! The interface to user space: `uapi/acrn.h` in Rust.

pub(crate) use crate::abstractions::uapi::*;

use kernel::{
    ffi::c_ulong,
    ioctl::{
        _IO,
        _IOW,
        _IOWR, //
    },
};

/// The ABI of a program.
#[derive(Clone, Copy)]
pub(crate) enum Abi {
    /// That of the kernel.
    Native,
    /// 32-bit: an `unsigned long` has 4 bytes, and 64-bit numbers are aligned to 4 bytes.
    I386,
}

macro_rules! command {
    (io, $number:literal) => {
        _IO(ACRN_IOCTL_TYPE, $number)
    };
    (iow, $number:literal, $argument:ty) => {
        _IOW::<$argument>(ACRN_IOCTL_TYPE, $number)
    };
    (iowr, $number:literal, $argument:ty) => {
        _IOWR::<$argument>(ACRN_IOCTL_TYPE, $number)
    };
}

macro_rules! define_commands {
    ($(
        $(#[$doc:meta])*
        $name:ident = $direction:ident($number:literal $(, $argument:ty)?);
    )*) => {
        $(
            $(#[$doc])*
            pub(crate) const $name: u32 = command!($direction, $number $(, $argument)?);
        )*
    };
}

include!("uapi/src/commands.rs");
for_each_command!(define_commands);

/// Size of [`acrn_vcpu_regs`] for 32-bit programs: it has no padding behind the last member.
pub(crate) const VCPU_REGS_I386: usize = size_of::<acrn_vcpu_regs>() - 4;
/// [`ACRN_IOCTL_SET_VCPU_REGS`] of 32-bit programs.
pub(crate) const ACRN_IOCTL_SET_VCPU_REGS_I386: u32 =
    _IOW::<[u8; VCPU_REGS_I386]>(ACRN_IOCTL_TYPE, 0x16);
/// [`ACRN_IOCTL_VM_INTR_MONITOR`] of 32-bit programs.
pub(crate) const ACRN_IOCTL_VM_INTR_MONITOR_I386: u32 = _IOW::<u32>(ACRN_IOCTL_TYPE, 0x24);
