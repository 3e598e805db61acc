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

/// All of them on, as long as this lives.
pub struct Tracepoints(());

impl Tracepoints {
    /// Turns them on, with an empty trace. The error says why the test has to be skipped.
    pub fn on() -> Result<Self, String> {
        if !file("events").exists() {
            return Err(format!("no tracefs on {TRACEFS}"));
        }
        fs::write(file("trace"), "").expect("an empty trace");
        fs::write(file(ENABLE), "1").expect("the driver's events");
        Ok(Self(()))
    }

    /// Turns them off. What was seen stays.
    pub fn turn_off(&self) {
        fs::write(file(ENABLE), "0").expect("the driver's events");
    }

    /// Each event, without task, CPU and time: the driver's own threads have such names, too.
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
