// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A run with a slip, which ends at the first failure.

use crate::{
    ktap::{self, Outcome, Report, SUBTEST},
    qemu::Listener,
};

/// The prefixes of faults that say nothing about the driver: a slow machine, or an end of QEMU.
const UNDECIDED: [&str; 2] = ["not done after", "QEMU"];

/// The outcome of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ran {
    /// The first failure.
    Failed(String),
    /// These tests passed.
    Passed(Vec<String>),
    /// The run exceeded its time limit, which shows nothing.
    Undecided(String),
}

/// Reads a report up to the first failure.
pub struct Watcher {
    program: String,
    report: Report,
    diagnostics: Vec<String>,
    passed: Vec<String>,
    failed: Option<String>,
}

impl Watcher {
    /// Returns a watcher for a run of a program.
    pub fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            report: Report::default(),
            diagnostics: Vec::new(),
            passed: Vec::new(),
            failed: None,
        }
    }

    /// Returns the outcome; `faults` are those that the runner has found.
    pub fn judge(self, faults: &[String]) -> Ran {
        if let Some(failed) = self.failed {
            return Ran::Failed(failed);
        }
        let place = match self.passed.last() {
            Some(test) => format!("{}, after {test}", self.program),
            None => self.program,
        };
        match faults.first() {
            Some(fault) if UNDECIDED.iter().any(|begin| fault.starts_with(begin)) => {
                Ran::Undecided(format!("{place}: {fault}"))
            }
            Some(fault) => Ran::Failed(format!("{place}: {fault}")),
            None if !self.report.is_complete() => {
                Ran::Failed(format!("{place}: the report has no end"))
            }
            None => Ran::Passed(self.passed),
        }
    }
}

impl Listener for Watcher {
    fn report(&mut self, line: &str) {
        self.report.line(line);
        let text = line.trim();
        if let Some(diagnostic) = text.strip_prefix('#') {
            self.diagnostics.push(diagnostic.trim().to_owned());
            self.diagnostics.retain(|line| !line.starts_with(SUBTEST));
            return;
        }
        let Some((outcome, name)) = ktap::result(text) else {
            return;
        };
        let is_test = line.starts_with("    ");
        match outcome {
            Outcome::Passed if is_test => self.passed.push(name.to_owned()),
            outcome if outcome.is_failure() && self.failed.is_none() => {
                let warning = self.diagnostics.first().map_or("", String::as_str);
                self.failed = Some(match is_test {
                    true => format!("{}.{name}", self.program),
                    false => format!("{name}: {warning}"),
                });
            }
            _ => {}
        }
        self.diagnostics.clear();
    }

    fn console(&mut self, _line: &str) {}

    fn has_enough(&self) -> bool {
        self.failed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the outcome of a report with faults, and whether the watcher stops early.
    fn watch(text: &str, faults: &[&str]) -> (Ran, bool) {
        let mut watcher = Watcher::new("io");
        let stops = text.lines().any(|line| {
            watcher.report(line);
            watcher.has_enough()
        });
        let faults: Vec<_> = faults.iter().map(|fault| (*fault).to_owned()).collect();
        (watcher.judge(&faults), stops)
    }

    #[test]
    fn reports_are_read_up_to_the_first_failure() {
        let failed = |text: &str| Ran::Failed(text.to_owned());
        let good =
            "1..3\nok 1 load\n    1..2\n    ok 1 a\n    ok 2 b # SKIP x\nok 2 io\nok 3 unload\n";
        assert_eq!(watch(good, &[]), (Ran::Passed(vec!["a".to_owned()]), false));
        let rule = "mini-ACRN: RULE BROKEN: x";
        let expected = failed("io, after a: mini-ACRN: RULE BROKEN: x");
        assert_eq!(watch(good, &[rule]), (expected, false));
        for fault in ["not done after 1800 s, killed", "QEMU: signal: 9 (SIGKILL)"] {
            let (ran, _) = watch(good, &[fault]);
            assert!(matches!(ran, Ran::Undecided(_)), "{ran:?}");
        }
        let bad = "1..3\nok 1 load\n    1..2\n    # why\n    not ok 1 a\n    ok 2 b\n";
        assert_eq!(watch(bad, &["QEMU: signal: 9"]), (failed("io.a"), true));
        let warning = "1..3\nok 1 load\n    1..1\n    # x\n    ok 1 a\n# WARNING: y\nnot ok 2 io\n";
        assert_eq!(watch(warning, &[]), (failed("io: WARNING: y"), true));
        let dead = "1..3\nok 1 load\n";
        let expected = failed("io: console: Kernel panic");
        assert_eq!(watch(dead, &["console: Kernel panic"]), (expected, false));
        assert_eq!(
            watch(dead, &[]),
            (failed("io: the report has no end"), false)
        );
    }
}
