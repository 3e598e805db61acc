// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! What a hypercall returns: 0 or one of ACRN's negative numbers.

/// Negative result of a hypercall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    /// ACRN's own generic error, also what a parameter gives that can't be read or written.
    pub const GENERIC: Self = Self(-1);
    /// A parameter can't be read.
    pub const FAULT: Self = Self(-14);
    /// The thing is in use.
    pub const BUSY: Self = Self(-16);
    /// No such device.
    pub const NODEV: Self = Self(-19);
    /// A parameter makes no sense.
    pub const INVAL: Self = Self(-22);
    /// Unknown hypercall, or a VM that does not exist.
    pub const NOTTY: Self = Self(-25);
    /// A queue is full.
    pub const NOSPC: Self = Self(-28);

    /// The value for RAX: sign-extended.
    pub fn value(self) -> i64 {
        i64::from(self.0)
    }
}

/// Result of a hypercall: what RAX gets.
pub type Result<T = ()> = core::result::Result<T, Errno>;
