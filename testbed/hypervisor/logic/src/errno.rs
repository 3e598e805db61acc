// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Results of hypercalls: 0 or a negative number of ACRN.

/// The negative result of a hypercall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    /// ACRN's generic error, also for a parameter that cannot be read or written.
    pub const GENERIC: Self = Self(-1);
    /// A parameter cannot be read.
    pub const FAULT: Self = Self(-14);
    /// The object is in use.
    pub const BUSY: Self = Self(-16);
    /// No such device.
    pub const NODEV: Self = Self(-19);
    /// A parameter is invalid.
    pub const INVAL: Self = Self(-22);
    /// The hypercall or the VM does not exist.
    pub const NOTTY: Self = Self(-25);
    /// A queue is full.
    pub const NOSPC: Self = Self(-28);

    /// Returns the sign-extended value for RAX.
    pub fn value(self) -> i64 {
        i64::from(self.0)
    }
}

/// Result of a hypercall.
pub type Result<T = ()> = core::result::Result<T, Errno>;
