// SPDX-License-Identifier: GPL-2.0

//! One allocation of this thread fails (Documentation/fault-injection/fault-injection.rst of the kernel).

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
};

use nix::errno::Errno;

const SETTINGS: &str = "/sys/kernel/debug/failslab";
/// No command of the driver allocates so often.
const ENOUGH: u32 = 200;

/// The right to make allocations fail.
pub struct Failing(File);

impl Failing {
    /// The error says why the test has to be skipped.
    pub fn new() -> Result<Self, String> {
        let path = "/proc/thread-self/fail-nth";
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|error| format!("no allocations that fail ({path}: {error})"))?;
        // Allocations that may wait fail as well; no call trace for each.
        for (name, value) in [("ignore-gfp-wait", "N"), ("verbose", "0")] {
            fs::write(format!("{SETTINGS}/{name}"), value)
                .map_err(|error| format!("{SETTINGS}/{name}: {error}"))?;
        }
        Ok(Self(file))
    }

    /// Runs `command`, which must not depend on memory, with its first allocation failing if it has one.
    pub fn nowhere<T>(&mut self, command: impl FnOnce() -> Result<T, Errno>) -> T {
        write!(self.0, "1").expect("fail-nth");
        let result = command();
        write!(self.0, "0").expect("fail-nth");
        result.expect("a command that needs no memory")
    }

    /// Runs `command` with its first allocation failing, then with its second, and so on until it has no more;
    /// `check` sees each result, and makes all as it was before. A failure is one of `errors`.
    pub fn each<T>(
        &mut self,
        errors: &[Errno],
        mut command: impl FnMut() -> Result<T, Errno>,
        mut check: impl FnMut(Result<T, Errno>),
    ) {
        let mut failures = 0;
        for nth in 1..ENOUGH {
            write!(self.0, "{nth}").expect("fail-nth");
            let result = command();
            let mut left = [0; 16];
            let length = self.0.read_at(&mut left, 0).expect("fail-nth");
            write!(self.0, "0").expect("fail-nth");
            if let Err(error) = &result {
                failures += 1;
                assert!(errors.contains(error), "allocation {nth}: {error}");
            }
            check(result);
            if String::from_utf8_lossy(&left[..length]).trim() != "0" {
                assert!(failures > 0, "none of {} allocations matters", nth - 1);
                println!("{} allocations, {failures} failures", nth - 1);
                return;
            }
        }
        panic!("it allocates without end");
    }
}
