// SPDX-License-Identifier: GPL-2.0

//! A Service VM with one CPU.

use std::fs;

use acrn_selftests::{cpus, harness};

use crate::calls::QUIET;

/// It has the CPU of the upcalls only, as long as this lives: what another one does would take its turn in the middle of
/// what is measured, as if that had to wait for it.
pub struct OneCpu(());

impl OneCpu {
    /// Takes the other one away, and stays on this. If nothing is measured both remain: a test that fails would leave
    /// those after it without. The error says why the test has to be skipped.
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
