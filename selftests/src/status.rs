// SPDX-License-Identifier: GPL-2.0

//! Status reports about a VM, with one `key:<tab>value` in each line.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

/// The lines of a report.
#[derive(Debug, PartialEq, Eq)]
pub struct Status(Vec<(String, String)>);

impl Status {
    /// Parses a report.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(":\t"));
        Self(
            lines
                .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
                .collect(),
        )
    }

    /// Reads the report about an open file in `/proc`.
    pub fn of(file: &impl AsFd) -> Self {
        let path = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
        Self::parse(&fs::read_to_string(path).expect("fdinfo"))
    }

    /// Reads the report about a VM in debugfs. Returns `None` without debugfs, or for upstream's
    /// driver.
    pub fn of_vm(vmid: u16) -> Option<Self> {
        let path = format!("/sys/kernel/debug/acrn_hsm/vm{vmid}/status");
        Some(Self::parse(&fs::read_to_string(path).ok()?))
    }

    /// Returns a value as text.
    pub fn text(&self, key: &str) -> &str {
        let found: Vec<_> = self.0.iter().filter(|(known, _)| known == key).collect();
        assert_eq!(found.len(), 1, "number of lines with {key} in {self:?}");
        &found[0].1
    }

    /// Returns a value as a number.
    pub fn number(&self, key: &str) -> u64 {
        let text = self.text(key);
        text.parse()
            .unwrap_or_else(|error| panic!("{key}: {text}: {error}"))
    }

    /// Returns whether there is a line with this key.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| known == key)
    }
}
