// SPDX-License-Identifier: GPL-2.0

//! A Service VM with one CPU.

use std::fs;

use acrn_selftests::{cpus, harness};

use crate::calls::QUIET;

/// Leaves the Service VM only the CPU of the upcalls, as long as this value lives. Work of another
/// CPU would run in the middle of the measured path, as if the path waited for it.
pub struct OneCpu(());

impl OneCpu {
    /// Takes the other CPU offline, and restricts this thread to the remaining one. Both remain
    /// online if nothing is measured, because a test that fails would leave the later tests without
    /// it. The error says why the test must be skipped.
    pub fn only() -> Result<Self, String> {
        if harness::rounds().is_some() {
            set_online("0").map_err(|error| format!("CPU {QUIET}: {error}"))?;
        }
        cpus::stay_on(cpus::UPCALLS)?;
        Ok(Self(()))
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        if harness::rounds().is_some() {
            set_online("1").expect("the other CPU");
        }
    }
}

fn set_online(value: &str) -> std::io::Result<()> {
    fs::write(format!("/sys/devices/system/cpu/cpu{QUIET}/online"), value)
}
