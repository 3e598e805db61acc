// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Memory without references, if the kernel detects it: `CONFIG_DEBUG_KMEMLEAK`.

use std::{fs, io, path::Path, thread, time::Duration};

const FILE: &str = "/sys/kernel/debug/kmemleak";
/// Minimum age of reported objects, `MSECS_MIN_AGE` in mm/kmemleak.c.
const MIN_AGE: Duration = Duration::from_secs(5);
/// An object is reported if it has not changed between two scans.
const SCANS: usize = 2;

/// The scanner.
pub struct Kmemleak(());

impl Kmemleak {
    /// Returns the scanner of a kernel that has one. Earlier leaks are not reported.
    pub fn new() -> io::Result<Option<Self>> {
        if !Path::new(FILE).exists() {
            return Ok(None);
        }
        let scanner = Self(());
        scanner.leaks()?;
        Ok(Some(scanner))
    }

    /// Returns the report of leaks since the last call, line by line.
    pub fn leaks(&self) -> io::Result<Vec<String>> {
        thread::sleep(MIN_AGE);
        for _ in 0..SCANS {
            fs::write(FILE, "scan")?;
        }
        let report = fs::read_to_string(FILE)?;
        fs::write(FILE, "clear")?;
        Ok(report.lines().map(str::to_owned).collect())
    }
}
