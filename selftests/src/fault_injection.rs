// SPDX-License-Identifier: GPL-2.0

//! Makes allocations of the driver fail (Documentation/fault-injection/fault-injection.rst of the
//! kernel).
//!
//! The kernel recognises these allocations by a function of the driver in the call stack. So
//! allocations that the kernel makes on behalf of the driver fail as well, both of slab objects and
//! of whole pages.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
};

use nix::errno::Errno;

/// More allocations than any command of the driver makes.
const ENOUGH: u32 = 400;
const DEBUGFS: &str = "/sys/kernel/debug";
/// Fault injection for slab objects, and for whole pages.
const KINDS: [&str; 2] = ["failslab", "fail_page_alloc"];
/// Whether allocations of this task fail.
const TASK: &str = "/proc/thread-self/make-it-fail";
/// The largest depth of a call stack that the kernel examines.
const DEPTH: &str = "32";

/// The allocations that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// One allocation.
    One,
    /// One allocation and all later ones, so that no fallback succeeds.
    Rest,
}

/// Makes allocations of the driver fail, in commands of the thread that created this value.
pub struct FaultInjection {
    /// Number of allocations of this thread up to the one that fails.
    nth: File,
    settings: Settings,
}

impl FaultInjection {
    /// Configures fault injection. The error says why the test must be skipped.
    pub fn new() -> Result<Self, String> {
        let path = "/proc/thread-self/fail-nth";
        let nth = OpenOptions::new().read(true).write(true).open(path);
        let nth = nth.map_err(|error| format!("no allocations that fail ({path}: {error})"))?;
        let (start, end) = driver_code()?;
        // Settings are written in this order: the last one enables failures.
        let common = [
            ("probability", "0"),
            ("verbose", "0"),
            ("task-filter", "Y"),
            ("interval", "1"),
            ("times", "-1"),
            ("space", "0"),
            // Allocations that may sleep fail as well.
            ("ignore-gfp-wait", "N"),
            ("stacktrace-depth", DEPTH),
            ("require-start", &start),
            ("require-end", &end),
        ];
        let pages = [("ignore-gfp-highmem", "N"), ("min-order", "0")];
        let failing = Self {
            nth,
            settings: Settings::read(),
        };
        for (kind, own) in KINDS.into_iter().zip([&[][..], &pages[..]]) {
            for (name, value) in common.iter().chain(own).chain(&[("probability", "100")]) {
                let path = format!("{DEBUGFS}/{kind}/{name}");
                fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
            }
        }
        Ok(failing)
    }

    /// Runs `command` with its `nth` allocation failing. Also returns whether the command made that
    /// many allocations.
    fn run<T>(&mut self, nth: u32, extent: Extent, command: impl FnOnce() -> T) -> (T, bool) {
        let task = OpenOptions::new().write(true).open(TASK).expect(TASK);
        let rest = u8::from(extent == Extent::Rest);
        task.write_at(rest.to_string().as_bytes(), 0).expect(TASK);
        write!(self.nth, "{nth}").expect("fail-nth");
        let result = command();
        let mut left = [0; 16];
        let length = self.nth.read_at(&mut left, 0).expect("fail-nth");
        write!(self.nth, "0").expect("fail-nth");
        task.write_at(b"0", 0).expect(TASK);
        let has_failed = String::from_utf8_lossy(&left[..length]).trim() == "0";
        (result, has_failed)
    }

    /// Runs `command` with all of its allocations failing.
    pub fn all<T>(&mut self, command: impl FnOnce() -> T) -> T {
        self.from(1, command).0
    }

    /// Runs `command` with its `nth` allocation and all later ones failing. Also returns whether
    /// the command made that many allocations.
    pub fn from<T>(&mut self, nth: u32, command: impl FnOnce() -> T) -> (T, bool) {
        self.run(nth, Extent::Rest, command)
    }

    /// Runs a command that must succeed without memory, with all of its allocations failing.
    pub fn nowhere<T>(&mut self, command: impl FnOnce() -> Result<T, Errno>) -> T {
        self.all(command).expect("a command that needs no memory")
    }

    /// Runs `command` with its first allocation failing, then with its second, and so on until it
    /// makes no more; then again with all later allocations failing as well.
    ///
    /// `check` receives each result and restores the state from before. A failure must be one of
    /// `errors`. After each failure the same command must succeed, and `check` receives that
    /// result, too.
    pub fn each<T>(
        &mut self,
        errors: &[Errno],
        mut command: impl FnMut() -> Result<T, Errno>,
        mut check: impl FnMut(Result<T, Errno>),
    ) {
        for extent in [Extent::One, Extent::Rest] {
            let mut failures = 0;
            let mut nth = 1;
            loop {
                let (result, has_failed) = self.run(nth, extent, &mut command);
                let error = result.as_ref().err().copied();
                check(result);
                if let Some(error) = error {
                    failures += 1;
                    assert!(
                        has_failed && errors.contains(&error),
                        "{extent:?}, allocation {nth}: {error}"
                    );
                    let again = command();
                    let error = again.as_ref().err();
                    assert_eq!(error, None, "{extent:?}, after allocation {nth}");
                    check(again);
                }
                if !has_failed {
                    break;
                }
                nth += 1;
                assert!(nth < ENOUGH, "it allocates without end");
            }
            println!("{extent:?}: {} allocations, {failures} failures", nth - 1);
            assert!(
                failures > 0 || extent == Extent::One,
                "no allocation matters"
            );
        }
    }
}

impl Drop for FaultInjection {
    fn drop(&mut self) {
        self.settings.restore();
    }
}

/// Settings of the kernel's fault injection: paths and contents.
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// Reads the current settings.
    pub fn read() -> Self {
        let directories = KINDS.map(|kind| fs::read_dir(format!("{DEBUGFS}/{kind}")));
        let files = directories.into_iter().flatten().flatten().flatten();
        let settings = files.filter_map(|file| {
            let path = file.path().to_str()?.to_owned();
            let value = fs::read_to_string(&path).ok()?;
            Some((path, value))
        });
        let mut settings: Vec<_> = settings.collect();
        // No allocation fails while the probability is 0.
        settings.sort_by_key(|(path, _)| !path.ends_with("/probability"));
        Self(settings)
    }

    /// Restores these settings.
    pub fn restore(&self) {
        for (path, value) in &self.0 {
            if fs::read_to_string(path).is_ok_and(|now| now != *value) {
                fs::write(path, value.trim()).expect(path);
            }
        }
    }
}

/// Returns the first address of the driver's code, and an address that is not below its end.
fn driver_code() -> Result<(String, String), String> {
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    let range = modules.lines().find_map(|line| {
        // Fields: name, bytes, number of users, users, state, address.
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let (&"acrn", size, address) = (words.first()?, words.get(1)?, words.get(5)?) else {
            return None;
        };
        let start = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        (start != 0).then_some((start, start + size.parse::<u64>().ok()?))
    });
    let (start, end) = range.ok_or("/proc/modules does not say where the driver is")?;
    Ok((format!("{start:#x}"), format!("{end:#x}")))
}
