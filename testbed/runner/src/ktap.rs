// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! KTAP, read line by line as it comes: a result at top level for each program, with the program's own
//! results indented before it.

use std::{fmt, mem};

/// Begins a diagnostic that is no remark on a test but a line of the `transcript` program.
pub const TRANSCRIPT: &str = "transcript: ";

/// Begins a diagnostic that names the program whose results follow.
pub const SUBTEST: &str = "Subtest: ";

/// Counted results.
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

    /// Both together.
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

/// How a test ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Passed,
    Failed,
    /// It failed, as it was not done in time.
    Hung,
    Skipped,
    /// It ended the machine. No line of a report says so.
    EndedMachine,
    /// Now this, now that. Only a record says so.
    Varies,
}

impl Outcome {
    /// Whether it counts as one.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Passed | Self::Skipped)
    }
}

/// A result line, `ok 3 name # SKIP why` or `not ok 4 name # TIMEOUT`; the number may be missing.
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

/// A plan line, `1..N`.
fn plan(line: &str) -> Option<usize> {
    line.strip_prefix("1..")?.split(' ').next()?.parse().ok()
}

/// Results and plan of one level.
#[derive(Default)]
struct Level {
    planned: Option<usize>,
    seen: usize,
    totals: Totals,
}

impl Level {
    /// What is wrong with the number of results, if anything.
    fn mismatch(&self) -> Option<String> {
        match self.planned {
            Some(planned) if planned == self.seen => None,
            Some(planned) => Some(format!("{planned} tests planned, {} seen", self.seen)),
            None => Some("no plan".to_owned()),
        }
    }
}

/// What a report tells test by test.
#[derive(Clone, Default)]
pub struct Results {
    /// Each test as `PROGRAM.TEST`, in the order of the report.
    pub tests: Vec<(String, Outcome)>,
    /// Lines of the `transcript` program.
    pub transcript: Vec<String>,
    /// What the kernel said last, if the machine ended.
    pub crash: Option<String>,
    /// The same by the test that did it.
    pub crashes: Vec<(String, String)>,
}

/// Name of what is wrong with a program beside its tests: complaints of the kernel, an end by a signal.
pub const BESIDE_TESTS: &str = "kernel_log";

/// Reader of a whole report.
#[derive(Default)]
pub struct Report {
    top: Level,
    program: Level,
    results: Results,
    /// Tests of the program that goes on.
    tests: Vec<(String, Outcome)>,
    totals: Totals,
    /// Diagnostics since the last result.
    diagnostics: Vec<String>,
    /// Failed and skipped tests in words.
    remarks: Vec<String>,
    /// A line a program.
    summary: Vec<String>,
}

impl Report {
    /// Takes the next line.
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

    /// A program ended. Its own result counts where its tests do not tell the same.
    fn conclude(&mut self, outcome: Outcome, name: &str, text: &str) {
        let mut program = mem::take(&mut self.program);
        self.top.seen += 1;
        self.attribute(name, outcome);
        if program.planned.is_none() && program.seen == 0 {
            program.totals.count(outcome);
        } else {
            let mismatch = program.mismatch();
            let untold = outcome == Outcome::Failed && program.totals.failed == 0;
            if untold || mismatch.is_some() {
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
        // Not in the words of the closing line, so that scripts find that one only.
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

    /// Puts the tests of a program that ended where they belong. What has no tests is none.
    fn attribute(&mut self, program: &str, outcome: Outcome) {
        let tests = mem::take(&mut self.tests);
        if tests.is_empty() {
            return;
        }
        // That a test failed is also the program's exit status.
        let told = |line: &String| line.starts_with("exit status:");
        let beside = outcome == Outcome::Failed && !self.diagnostics.iter().all(told);
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

    /// What is known test by test. `running` is the program that goes on, if any.
    pub fn take_results(&mut self, running: Option<&str>) -> Results {
        let mut results = mem::take(&mut self.results);
        if let Some(program) = running {
            let unfinished = self.tests.iter();
            let named = unfinished.map(|(test, outcome)| (format!("{program}.{test}"), *outcome));
            results.tests.extend(named);
        }
        results
    }

    /// Whether every program that was planned has a result.
    pub fn is_complete(&self) -> bool {
        self.top.mismatch().is_none()
    }

    /// Counts a failure that no line tells.
    pub fn fail(&mut self, why: &str) {
        self.totals.failed += 1;
        self.remarks.push(format!("not ok {why}"));
    }

    /// Ends the report: failed and skipped tests, a line a program, and the totals.
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

/// Results without plan or nesting, as `--add-results` takes them.
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
    fn failed_tests_are_told_with_their_diagnostics() {
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
    fn results_are_told_by_name() {
        let mut report = Report::default();
        let text = "ok 1 load\n    1..2\n    # transcript: A.b | 0 | - | -\n    ok 1 a\n    # why\n    \
                    not ok 2 b\n# exit status: 1\nnot ok 2 io\n    ok 1 c\n# BUG: x\nnot ok 3 memory\n    \
                    ok 1 d\n";
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
