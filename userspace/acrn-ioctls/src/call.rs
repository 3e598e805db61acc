// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The only places where `ioctl` is called.

use std::os::fd::{AsRawFd, BorrowedFd};

use zerocopy::FromBytes;

use crate::{Error, Operation, Result};

fn check(request: u32, result: libc::c_int) -> Result<()> {
    if result < 0 {
        return Err(Error::last(Operation::Ioctl(request)));
    }
    Ok(())
}

/// A request whose argument is a number, or nothing.
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
