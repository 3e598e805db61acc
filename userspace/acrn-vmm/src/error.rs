// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Errors for the user: the failed action, its object, and the cause.

use std::error::Error as StdError;
use std::fmt;

/// A failure of an action.
#[derive(Debug)]
pub struct Error {
    doing: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns a failure without another error as its cause.
    pub fn new(what: impl Into<String>) -> Self {
        Error {
            doing: what.into(),
            cause: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl StdError for Error {}

/// Adds the failed action to an error.
pub trait Context<T> {
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| Error {
            doing: doing().into(),
            cause: Some(cause.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_what_and_why() {
        let result: Result<()> =
            Err(std::io::Error::from_raw_os_error(libc::ENOENT)).context(|| "kernel x");
        assert_eq!(
            result.unwrap_err().to_string(),
            "kernel x: No such file or directory (os error 2)"
        );
        assert_eq!(Error::new("no way").to_string(), "no way");
    }
}
