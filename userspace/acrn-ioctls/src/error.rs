// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Errors: the call that failed, and its errno.

use std::fmt;
use std::io;

use acrn_uapi::ioctl;

/// The call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Opening the device.
    Open,
    /// Mapping a page for the [`RequestPage`](crate::RequestPage).
    MapRequestPage,
    /// The ioctl with this number.
    Ioctl(u32),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Operation::Open => f.write_str("open"),
            Operation::MapRequestPage => f.write_str("mmap of the I/O request page"),
            Operation::Ioctl(number) => match ioctl::ALL.iter().find(|(n, _)| *n == number) {
                Some((_, name)) => f.write_str(name),
                None => write!(f, "ioctl {number:#010x}"),
            },
        }
    }
}

/// A call that failed, and its errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error {
    operation: Operation,
    errno: i32,
}

/// The result of almost every method.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns an error of `operation` with this errno, a positive number.
    pub fn new(operation: Operation, errno: i32) -> Self {
        Error { operation, errno }
    }

    /// Returns the error of the last system call of this thread.
    pub(crate) fn last(operation: Operation) -> Self {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        Error { operation, errno }
    }

    /// Returns the call that failed.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Returns the errno, a positive number such as `libc::EINVAL`.
    pub fn errno(&self) -> i32 {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.operation,
            io::Error::from_raw_os_error(self.errno)
        )
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::from_raw_os_error(error.errno)
    }
}

/// A change of state that failed, with the unchanged value.
///
/// The caller may try again or continue with the value. The `?` operator turns this into an
/// [`Error`], which drops `value`.
pub struct Failed<T> {
    /// The unchanged value.
    pub value: T,
    /// The reason.
    pub error: Error,
}

impl<T> fmt::Debug for Failed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Failed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for Failed<T> {}

impl<T> From<Failed<T>> for Error {
    fn from(failed: Failed<T>) -> Self {
        failed.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_ioctl_and_the_reason() {
        let error = Error::new(Operation::Ioctl(ioctl::ACRN_IOCTL_START_VM), libc::EINVAL);
        assert_eq!(
            error.to_string(),
            "ACRN_IOCTL_START_VM: Invalid argument (os error 22)"
        );
    }

    #[test]
    fn unknown_ioctl_shows_its_number() {
        assert_eq!(Operation::Ioctl(0xa2ff).to_string(), "ioctl 0x0000a2ff");
    }

    #[test]
    fn failed_gives_the_value_back_and_the_error_on() {
        let error = Error::new(Operation::Open, libc::ENOENT);
        let failed = Failed { value: 7, error };
        assert_eq!(failed.value, 7);
        assert_eq!(Error::from(failed), error);
    }
}
