// SPDX-License-Identifier: GPL-2.0

//! The driver's tracepoints, `acrn_hsm:*`. Upstream's driver has none.

use std::{
    fs,
    path::{Path, PathBuf},
};

const TRACEFS: &str = "/sys/kernel/tracing";
const ENABLE: &str = "events/acrn_hsm/enable";

fn file(name: &str) -> PathBuf {
    Path::new(TRACEFS).join(name)
}

/// Enables all tracepoints as long as this value lives.
pub struct Tracepoints(());

impl Tracepoints {
    /// Clears the trace and enables the tracepoints. The error says why the test must be skipped.
    pub fn on() -> Result<Self, String> {
        if !file("events").exists() {
            return Err(format!("no tracefs on {TRACEFS}"));
        }
        fs::write(file("trace"), "").expect("an empty trace");
        fs::write(file(ENABLE), "1").expect("the driver's events");
        Ok(Self(()))
    }

    /// Disables the tracepoints. The trace is kept.
    pub fn turn_off(&self) {
        fs::write(file(ENABLE), "0").expect("the driver's events");
    }

    /// Returns each event without task, CPU and time. The names of the driver's own threads also
    /// begin with `acrn_`.
    pub fn seen(&self) -> Vec<String> {
        let text = fs::read_to_string(file("trace")).expect("the trace");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let events = lines.filter_map(|line| Some(line.split_once(": acrn_")?.1));
        events.map(|event| format!("acrn_{event}")).collect()
    }
}

impl Drop for Tracepoints {
    fn drop(&mut self) {
        let _ = fs::write(file(ENABLE), "0");
    }
}
