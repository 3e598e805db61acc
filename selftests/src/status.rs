// SPDX-License-Identifier: GPL-2.0

//! What is told of a VM: one `key:<tab>value` a line.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

/// The lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Status(Vec<(String, String)>);

impl Status {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(":\t"));
        Self(
            lines
                .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
                .collect(),
        )
    }

    /// What `/proc` tells of an open file.
    pub fn of(file: &impl AsFd) -> Self {
        let path = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
        Self::parse(&fs::read_to_string(path).expect("fdinfo"))
    }

    /// What debugfs tells of a VM; nothing without debugfs, or of upstream's driver.
    pub fn of_vm(vmid: u16) -> Option<Self> {
        let path = format!("/sys/kernel/debug/acrn_hsm/vm{vmid}/status");
        Some(Self::parse(&fs::read_to_string(path).ok()?))
    }

    /// A value as it stands there.
    pub fn text(&self, key: &str) -> &str {
        let found: Vec<_> = self.0.iter().filter(|(known, _)| known == key).collect();
        assert_eq!(found.len(), 1, "lines with {key} in {self:?}");
        &found[0].1
    }

    /// A value that is a number.
    pub fn number(&self, key: &str) -> u64 {
        let text = self.text(key);
        text.parse()
            .unwrap_or_else(|error| panic!("{key}: {text}: {error}"))
    }

    /// Whether there is such a line.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| known == key)
    }
}
