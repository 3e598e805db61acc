// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The `testbed.` parameters of the kernel command line.

use std::fs;

/// The job of PID 1.
pub enum Job {
    Check,
    Demo,
    Guest,
    Reboot,
    Refuse,
    Shell,
    Unknown(String),
}

/// A kernel command line.
pub struct CommandLine(String);

impl CommandLine {
    /// Reads the command line of the running kernel.
    pub fn of_kernel() -> Self {
        Self(fs::read_to_string("/proc/cmdline").unwrap_or_default())
    }

    /// Creates a command line for tests.
    #[cfg(test)]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the value of `testbed.NAME`. The last one counts.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .split_ascii_whitespace()
            .filter_map(|word| {
                word.strip_prefix("testbed.")?
                    .strip_prefix(name)?
                    .strip_prefix('=')
            })
            .next_back()
    }

    /// Returns the job in `testbed.job`.
    pub fn job(&self) -> Job {
        match self.get("job").unwrap_or("shell") {
            "check" => Job::Check,
            "demo" => Job::Demo,
            "guest" => Job::Guest,
            "reboot" => Job::Reboot,
            "refuse" => Job::Refuse,
            "shell" => Job::Shell,
            other => Job::Unknown(other.to_owned()),
        }
    }

    /// Returns the path of the driver in `testbed.driver`.
    pub fn driver(&self) -> String {
        format!("/modules/{}/acrn.ko", self.get("driver").unwrap_or("rust"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found() {
        let line = CommandLine::new("quiet testbed.job=guest testbed.job=demo testbed.jobs=1");
        assert!(matches!(line.job(), Job::Demo));
        assert_eq!(line.get("jobs"), Some("1"));
        assert_eq!(line.get("only"), None);
        assert_eq!(line.driver(), "/modules/rust/acrn.ko");
    }
}
