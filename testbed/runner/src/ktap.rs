// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Reads KTAP line by line. Each program has a result at the top level, after its own indented
//! results.

use std::{fmt, mem};

/// The prefix of a diagnostic that is a line of the `transcript` program.
pub const TRANSCRIPT: &str = "transcript: ";

/// The prefix of a diagnostic that names the program of the following results.
pub const SUBTEST: &str = "Subtest: ";

/// Numbers of results.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Totals {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped => self.skipped += 1,
            _ => self.failed += 1,
        }
    }

    /// Adds other numbers.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The outcome of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Passed,
    Failed,
    /// The test failed, because it exceeded its time limit.
    Hung,
    Skipped,
    /// The test ended the machine. The report has no line for this.
    EndedMachine,
    /// The outcome varies. Only a record has this.
    Varies,
}

impl Outcome {
    /// Returns whether the outcome counts as a failure.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Passed | Self::Skipped)
    }
}

/// Parses a result line, `ok 3 name # SKIP why` or `not ok 4 name # TIMEOUT`, with or without a
/// number.
pub fn result(line: &str) -> Option<(Outcome, &str)> {
    let (passed, rest) = match line.strip_prefix("ok ") {
        Some(rest) => (true, rest),
        None => (false, line.strip_prefix("not ok ")?),
    };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit()).trim();
    let (name, directive) = rest.split_once('#').unwrap_or((rest, ""));
    let outcome = match (passed, directive.split_ascii_whitespace().next()) {
        (_, Some("SKIP")) => Outcome::Skipped,
        (true, _) => Outcome::Passed,
        (false, Some("TIMEOUT")) => Outcome::Hung,
        (false, _) => Outcome::Failed,
    };
    Some((outcome, name.trim()))
}

/// Parses a plan line, `1..N`.
fn plan(line: &str) -> Option<usize> {
    line.strip_prefix("1..")?.split(' ').next()?.parse().ok()
}

/// The results and the plan of one level.
#[derive(Default)]
struct Level {
    planned: Option<usize>,
    seen: usize,
    totals: Totals,
}

impl Level {
    /// Describes a mismatch between plan and results, if there is one.
    fn mismatch(&self) -> Option<String> {
        match self.planned {
            Some(planned) if planned == self.seen => None,
            Some(planned) => Some(format!("{planned} tests planned, {} seen", self.seen)),
            None => Some("no plan".to_owned()),
        }
    }
}

/// The results of a report, test by test.
#[derive(Clone, Default)]
pub struct Results {
    /// Each test as `PROGRAM.TEST`, in the order of the report.
    pub tests: Vec<(String, Outcome)>,
    /// The lines of the `transcript` program.
    pub transcript: Vec<String>,
    /// The last message of the kernel, if the machine ended.
    pub crash: Option<String>,
    /// The last messages of the kernel, by the test that ended the machine.
    pub crashes: Vec<(String, String)>,
}

/// The name for a failure of a program outside its tests: a kernel warning, or a signal.
pub const BESIDE_TESTS: &str = "kernel_log";

/// The reader of a whole report.
#[derive(Default)]
pub struct Report {
    top: Level,
    program: Level,
    results: Results,
    /// The tests of the running program.
    tests: Vec<(String, Outcome)>,
    totals: Totals,
    /// The diagnostics since the last result.
    diagnostics: Vec<String>,
    /// Descriptions of the failed and skipped tests.
    remarks: Vec<String>,
    /// A line for each program.
    summary: Vec<String>,
}

impl Report {
    /// Reads the next line.
    pub fn line(&mut self, line: &str) {
        let text = line.trim();
        let nested = line.starts_with("    ");
        if let Some(diagnostic) = text.strip_prefix('#').map(str::trim) {
            match diagnostic.strip_prefix(TRANSCRIPT) {
                Some(line) => self.results.transcript.push(line.to_owned()),
                None if diagnostic.starts_with(SUBTEST) => {}
                None => self.diagnostics.push(diagnostic.to_owned()),
            }
        } else if let Some(planned) = plan(text) {
            let level = if nested {
                &mut self.program
            } else {
                &mut self.top
            };
            level.planned = Some(planned);
        } else if let Some((outcome, name)) = result(text) {
            if nested {
                self.program.seen += 1;
                self.program.totals.count(outcome);
                self.tests.push((name.to_owned(), outcome));
                self.remark(outcome, text);
            } else {
                self.conclude(outcome, name, text);
            }
        }
    }

    fn remark(&mut self, outcome: Outcome, text: &str) {
        let diagnostics = mem::take(&mut self.diagnostics);
        if outcome != Outcome::Passed {
            self.remarks.push(text.to_owned());
        }
        if outcome.is_failure() {
            self.remarks
                .extend(diagnostics.iter().map(|line| format!("  # {line}")));
        }
    }

    /// Handles the end of a program. Its own result counts if its tests do not show the same.
    fn conclude(&mut self, outcome: Outcome, name: &str, text: &str) {
        let mut program = mem::take(&mut self.program);
        self.top.seen += 1;
        self.attribute(name, outcome);
        if program.planned.is_none() && program.seen == 0 {
            program.totals.count(outcome);
        } else {
            let mismatch = program.mismatch();
            let unreported = outcome == Outcome::Failed && program.totals.failed == 0;
            if unreported || mismatch.is_some() {
                self.diagnostics.extend(mismatch);
                program.totals.count(Outcome::Failed);
            }
        }
        let remarked = if program.totals.failed > 0 {
            Outcome::Failed
        } else {
            outcome
        };
        self.remark(remarked, &format!("{text} (the program)"));
        // Different from the last line of the output, so that scripts find only that one.
        let Totals {
            passed,
            failed,
            skipped,
        } = program.totals;
        self.summary.push(format!(
            "{name:<12} ok {passed:>3}  not ok {failed:>3}  skipped {skipped:>3}"
        ));
        self.totals.add(program.totals);
    }

    /// Adds the tests of a program that ended to the results. A program without tests is skipped.
    fn attribute(&mut self, program: &str, outcome: Outcome) {
        let tests = mem::take(&mut self.tests);
        if tests.is_empty() {
            return;
        }
        // The exit status also reports that a test failed.
        let is_exit_status = |line: &String| line.starts_with("exit status:");
        let beside = outcome == Outcome::Failed && !self.diagnostics.iter().all(is_exit_status);
        let beside = match beside {
            true => Outcome::Failed,
            false => Outcome::Passed,
        };
        let tests = tests
            .into_iter()
            .chain([(BESIDE_TESTS.to_owned(), beside)])
            .map(|(test, outcome)| (format!("{program}.{test}"), outcome));
        self.results.tests.extend(tests);
    }

    /// Returns the results so far. `running` is the program that has not ended, if there is one.
    pub fn take_results(&mut self, running: Option<&str>) -> Results {
        let mut results = mem::take(&mut self.results);
        if let Some(program) = running {
            let unfinished = self.tests.iter();
            let named = unfinished.map(|(test, outcome)| (format!("{program}.{test}"), *outcome));
            results.tests.extend(named);
        }
        results
    }

    /// Returns whether every planned program has a result.
    pub fn is_complete(&self) -> bool {
        self.top.mismatch().is_none()
    }

    /// Counts a failure that is not in the report.
    pub fn fail(&mut self, why: &str) {
        self.totals.failed += 1;
        self.remarks.push(format!("not ok {why}"));
    }

    /// Ends the report. Returns its text (failed and skipped tests, a line for each program) and
    /// the totals.
    pub fn finish(mut self) -> (String, Totals) {
        if self.program.seen > 0 {
            let unfinished = mem::take(&mut self.program);
            self.totals.add(unfinished.totals);
            self.remarks
                .extend(self.diagnostics.drain(..).map(|line| format!("  # {line}")));
            self.fail("a program did not end");
        }
        if let Some(mismatch) = self.top.mismatch() {
            self.fail(&mismatch);
        }
        let mut text = self.remarks;
        text.extend(self.summary);
        (text.join("\n"), self.totals)
    }
}

/// Counts results without plan and nesting, which `--add-results` reads.
pub fn flat(text: &str) -> Totals {
    let mut totals = Totals::default();
    for (outcome, _) in text.lines().filter_map(result) {
        totals.count(outcome);
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals_of(text: &str) -> (String, Totals) {
        let mut report = Report::default();
        text.lines().for_each(|line| report.line(line));
        report.finish()
    }

    fn totals(passed: usize, failed: usize, skipped: usize) -> Totals {
        Totals {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn leaves_are_counted_once() {
        let (_, counted) = totals_of(
            "KTAP version 1\n1..3\nok 1 load\n    KTAP version 1\n    1..3\n    ok 1 a\n    \
             # why\n    not ok 2 b\n    ok 3 c # SKIP no probe\nnot ok 2 io\nok 3 unload\n",
        );
        assert_eq!(counted, totals(3, 1, 1));
    }

    #[test]
    fn failed_tests_are_shown_with_diagnostics() {
        let (text, _) = totals_of("1..1\n    1..1\n    # got 3\n    not ok 1 b\nnot ok 1 io\n");
        assert!(text.contains("not ok 1 b\n  # got 3"), "{text}");
        assert!(text.contains("io           ok   0  not ok   1"), "{text}");
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_counts() {
        let text = "1..1\n    1..1\n    ok 1 a\n# WARNING: at mm/gup.c\nnot ok 1 io\n";
        assert_eq!(totals_of(text).1, totals(1, 1, 0));
    }

    #[test]
    fn missing_tests_are_failures() {
        assert_eq!(
            totals_of("1..1\n    1..2\n    ok 1 a\nok 1 io\n").1,
            totals(1, 1, 0)
        );
        assert_eq!(
            totals_of("1..2\n    1..1\n    ok 1 a\nok 1 io\n").1,
            totals(1, 1, 0)
        );
        assert_eq!(totals_of("1..1\n    1..2\n    ok 1 a\n").1, totals(1, 2, 0));
        assert_eq!(totals_of("").1, totals(0, 1, 0));
    }

    #[test]
    fn results_are_known_by_name() {
        let mut report = Report::default();
        let text = "ok 1 load\n    1..2\n    # transcript: A.b | 0 | - | -\n    ok 1 a\n    # why\n\
    \x20   not ok 2 b\n# exit status: 1\nnot ok 2 io\n    ok 1 c\n# BUG: x\n\
                    not ok 3 memory\n    ok 1 d\n";
        text.lines().for_each(|line| report.line(line));
        let results = report.take_results(Some("races"));
        let expected = [
            ("io.a", Outcome::Passed),
            ("io.b", Outcome::Failed),
            ("io.kernel_log", Outcome::Passed),
            ("memory.c", Outcome::Passed),
            ("memory.kernel_log", Outcome::Failed),
            ("races.d", Outcome::Passed),
        ];
        assert_eq!(
            results.tests,
            expected.map(|(name, outcome)| (name.to_owned(), outcome))
        );
        assert_eq!(results.transcript, ["A.b | 0 | - | -"]);
    }

    #[test]
    fn flat_results() {
        assert_eq!(
            flat("ok a\nnot ok b\nrubbish\nok c # SKIP x\nnot ok d # TIMEOUT\n"),
            totals(1, 2, 1)
        );
        assert_eq!(result("not ok 4 d # TIMEOUT"), Some((Outcome::Hung, "d")));
    }
}
