// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The only places where `ioctl` is called.

use std::os::fd::{AsRawFd, BorrowedFd};

use acrn_uapi::ioctl::*;
use zerocopy::FromBytes;

use crate::{Error, Operation, Result};

fn check(request: u32, result: libc::c_int) -> Result<()> {
    if result < 0 {
        return Err(Error::last(Operation::Ioctl(request)));
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
    const fn new(request: u32) -> Self {
        assert!(request >> 16 == 0, "the command has an argument");
        Self(request)
    }
}

/// Issues a command that takes no argument.
pub(crate) fn without_argument(fd: BorrowedFd<'_>, NoArgument(request): NoArgument) -> Result<()> {
    // SAFETY: the driver ignores the argument of such a command.
    unsafe { with_value(fd, request, 0) }
}

/// Issues a command whose argument is a number.
///
/// # Safety
///
/// `request` must not be one whose argument is a pointer.
pub(crate) unsafe fn with_value(fd: BorrowedFd<'_>, request: u32, value: u64) -> Result<()> {
    // SAFETY: by the contract of this function the kernel takes `value` for no address of ours.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, value) };
    check(request, result)
}

/// A request that reads its argument.
///
/// # Safety
///
/// `request` must read no more than a `T`, and write nothing there.
pub(crate) unsafe fn with_ref<T>(fd: BorrowedFd<'_>, request: u32, argument: &T) -> Result<()> {
    // SAFETY: the kernel reads a `T` for the length of the call, by the contract of this function.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, argument) };
    check(request, result)
}

/// A request that reads and writes its argument.
///
/// # Safety
///
/// `request` must read and write no more than a `T`.
pub(crate) unsafe fn with_mut<T: FromBytes>(
    fd: BorrowedFd<'_>,
    request: u32,
    argument: &mut T,
) -> Result<()> {
    // SAFETY: the kernel reads and writes a `T` for the length of the call, by the contract of this function,
    // and any bytes make a `T`.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, argument) };
    check(request, result)
}
