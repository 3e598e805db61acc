// SPDX-License-Identifier: GPL-2.0

//! The unit tests inside the driver (KUnit). The kernel runs them when the driver is loaded, if its
//! command line has `kunit.enable=1`, and shows their results in debugfs.
//!
//! A test here is a suite there. Upstream's driver has none.

use std::{collections::BTreeSet, fs, path::Path, process::ExitCode};

use acrn_selftests::{
    harness::{self, Outcome, Test},
    skip,
};

const DIRECTORY: &str = "/sys/kernel/debug/kunit";
/// The beginning of the names of the driver's suites.
const PREFIX: &str = "acrn_hsm_";

macro_rules! suites {
    ($($name:literal),* $(,)?) => {
        const SUITES: &[&str] = &[$($name),*];

        fn main() -> ExitCode {
            harness::main(&[
                Test::new("all_suites", all_suites),
                $(Test::new($name, || suite($name))),*
            ])
        }
    };
}

suites![
    "budget",
    "examples",
    "hypercall",
    "ioeventfd_table",
    "page_range",
    "page_run",
    "pci_config",
    "slot",
    "vcpu",
];

/// Each suite of the driver is a test of this program.
fn all_suites() -> Outcome {
    let Ok(entries) = fs::read_dir(DIRECTORY) else {
        skip!("{DIRECTORY} does not exist");
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let suites: BTreeSet<_> = names
        .filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned))
        .collect();
    if suites.is_empty() {
        skip!("the driver has no suites in {DIRECTORY}: upstream's, or no kunit.enable=1");
    }
    let expected: BTreeSet<_> = SUITES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(suites, expected, "suites in {DIRECTORY}");
    Outcome::Passed
}

/// All tests of a suite passed.
fn suite(name: &str) -> Outcome {
    let path = Path::new(DIRECTORY)
        .join(format!("{PREFIX}{name}"))
        .join("results");
    let Ok(results) = fs::read_to_string(&path) else {
        skip!("{} does not exist", path.display());
    };
    let case = |result| {
        let lines = results.lines().map(str::trim_start);
        lines.filter(|line| line.starts_with(result)).count()
    };
    // One line is about the suite.
    let (passed, failed) = (case("ok "), case("not ok "));
    assert!(failed == 0 && passed > 1, "{}:\n{results}", path.display());
    println!("{} tests passed", passed - 1);
    Outcome::Passed
}
