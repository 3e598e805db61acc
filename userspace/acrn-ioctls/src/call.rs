// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The only calls of `ioctl` in this crate.

use std::os::fd::{AsRawFd, BorrowedFd};

use acrn_uapi::ioctl::*;
use zerocopy::FromBytes;

use crate::{Error, Operation, Result};

fn check(command: u32, result: libc::c_int) -> Result<()> {
    if result < 0 {
        return Err(Error::last(Operation::Ioctl(command)));
    }
    Ok(())
}

/// A command that takes no argument.
#[derive(Clone, Copy)]
pub(crate) struct NoArgument(u32);

impl NoArgument {
    pub(crate) const DESTROY_VM: Self = Self::new(ACRN_IOCTL_DESTROY_VM);
    pub(crate) const START_VM: Self = Self::new(ACRN_IOCTL_START_VM);
    pub(crate) const PAUSE_VM: Self = Self::new(ACRN_IOCTL_PAUSE_VM);
    pub(crate) const RESET_VM: Self = Self::new(ACRN_IOCTL_RESET_VM);
    pub(crate) const CREATE_IOREQ_CLIENT: Self = Self::new(ACRN_IOCTL_CREATE_IOREQ_CLIENT);
    pub(crate) const ATTACH_IOREQ_CLIENT: Self = Self::new(ACRN_IOCTL_ATTACH_IOREQ_CLIENT);
    pub(crate) const DESTROY_IOREQ_CLIENT: Self = Self::new(ACRN_IOCTL_DESTROY_IOREQ_CLIENT);
    pub(crate) const CLEAR_VM_IOREQ: Self = Self::new(ACRN_IOCTL_CLEAR_VM_IOREQ);

    /// Checks, at compile time, that the number has neither a direction nor a size: an `_IO` one.
    const fn new(command: u32) -> Self {
        assert!(command >> 16 == 0, "the command has an argument");
        Self(command)
    }
}

/// Issues a command that takes no argument.
pub(crate) fn without_argument(fd: BorrowedFd<'_>, NoArgument(command): NoArgument) -> Result<()> {
    // SAFETY: the driver ignores the argument of such a command.
    unsafe { with_value(fd, command, 0) }
}

/// Issues a command whose argument is a number.
///
/// # Safety
///
/// The argument of `command` must not be a pointer.
pub(crate) unsafe fn with_value(fd: BorrowedFd<'_>, command: u32, value: u64) -> Result<()> {
    // SAFETY: by the safety section of this function the kernel does not use `value` as an address.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), command as libc::Ioctl, value) };
    check(command, result)
}

/// Issues a command that reads its argument.
///
/// # Safety
///
/// `command` must read no more than a `T`, and must not write to it.
pub(crate) unsafe fn with_ref<T>(fd: BorrowedFd<'_>, command: u32, argument: &T) -> Result<()> {
    // SAFETY: by the safety section of this function the kernel reads a `T`, only during the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), command as libc::Ioctl, argument) };
    check(command, result)
}

/// Issues a command that reads and writes its argument.
///
/// # Safety
///
/// `command` must read and write no more than a `T`.
pub(crate) unsafe fn with_mut<T: FromBytes>(
    fd: BorrowedFd<'_>,
    command: u32,
    argument: &mut T,
) -> Result<()> {
    // SAFETY: by the safety section of this function the kernel reads and writes a `T`, only during
    // the call. Any bytes are a valid `T`.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), command as libc::Ioctl, argument) };
    check(command, result)
}
