// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Compares the results of upstream's driver and ours for tests and cases of the same name.

use std::collections::{HashMap, HashSet};

use crate::{
    differences::Differences,
    ktap::{BESIDE_TESTS, Outcome, Results},
    transcript::Case,
};

/// The program whose lines are compared one by one.
pub const TRANSCRIPT: &str = "transcript";

/// The result of the comparison of one test or case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No difference.
    Same,
    /// A difference that is on the list.
    Listed,
    /// A difference that is not on the list.
    Unlisted,
    /// A case on the list that does not differ.
    Gone,
    /// The test or case is newer than the record of upstream's driver.
    Unrecorded,
    /// An earlier test ended the machine of upstream's driver.
    NotReached,
    /// The test fails on our driver, which is a bug, not a difference.
    Broken,
}

/// A compared test or case.
pub struct Row<'a> {
    /// `PROGRAM.TEST` or `COMMAND.case`.
    pub name: String,
    /// The result.
    pub verdict: Verdict,
    /// The ids under which it is listed.
    pub ids: Vec<&'a str>,
    /// The parts of a case that differ.
    pub parts: Vec<&'static str>,
    /// Descriptions of the differences.
    pub details: Vec<String>,
}

impl Row<'_> {
    /// Returns the program or the command.
    pub fn group(&self) -> &str {
        group(&self.name)
    }
}

/// Returns the program or the command of a name.
pub fn group(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// A comparison of two results.
pub struct Comparison<'a> {
    /// Sorted by command and by program.
    pub rows: Vec<Row<'a>>,
    /// Patterns of the list that match nothing.
    pub unused: Vec<&'a str>,
    /// Whether all programs ran.
    pub complete: bool,
}

/// Compares `ours` with `upstream`.
///
/// If not all programs ran (`complete`), only the results of those that ran are judged.
pub fn compare<'a>(
    upstream: &Results,
    ours: &Results,
    list: &'a Differences,
    complete: bool,
) -> Comparison<'a> {
    let mut tests = compare_tests(&upstream.tests, &ours.tests, list);
    if complete {
        tests.extend(missing_tests(&upstream.tests, &ours.tests));
        tests.sort_by(|a, b| a.group().cmp(b.group()));
    }
    let incomplete = upstream
        .tests
        .iter()
        .any(|(name, outcome)| group(name) == TRANSCRIPT && *outcome == Outcome::EndedMachine);
    let mut rows = compare_cases(
        &upstream.transcript,
        &ours.transcript,
        list,
        incomplete,
        complete,
    );
    rows.extend(tests);
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    let unused = match complete {
        true => list.unused(&names),
        false => Vec::new(),
    };
    Comparison {
        rows,
        unused,
        complete,
    }
}

/// Compares tests.
///
/// After a listed test that ended or damaged the machine, a missing result is not a failure.
pub fn compare_tests<'a>(
    upstream: &[(String, Outcome)],
    ours: &[(String, Outcome)],
    list: &'a Differences,
) -> Vec<Row<'a>> {
    let known: HashMap<_, _> = upstream.iter().cloned().collect();
    let mut rows = Vec::new();
    for tests in ours.chunk_by(|(a, _), (b, _)| group(a) == group(b)) {
        // Whether a listed test may have caused the following failures.
        let mut blamed = false;
        for (name, outcome) in tests {
            let ids = list.of(name);
            let (verdict, detail) = match (known.get(name), outcome) {
                (_, outcome) if outcome.is_failure() => (Verdict::Broken, "fails here"),
                (None, _) if blamed => (Verdict::NotReached, ""),
                (None, _) => (Verdict::Unrecorded, "has no result on upstream's driver"),
                (Some(upstream), outcome) if upstream == outcome => (Verdict::Same, ""),
                (Some(_), Outcome::Skipped) => (
                    Verdict::Unlisted,
                    "is skipped here, not on upstream's driver",
                ),
                // It is not known which test caused the kernel's warning.
                (Some(Outcome::Failed), _) if blamed && name.ends_with(BESIDE_TESTS) => {
                    (Verdict::Listed, "the kernel warns on upstream's driver")
                }
                (Some(upstream), _) if ids.is_empty() => (Verdict::Unlisted, in_words(*upstream)),
                (Some(upstream), _) => {
                    blamed |= upstream.is_failure();
                    (Verdict::Listed, in_words(*upstream))
                }
            };
            rows.push(Row {
                name: name.clone(),
                verdict,
                ids,
                parts: Vec::new(),
                details: vec![detail.to_owned()],
            });
        }
    }
    rows
}

/// Describes the outcome on upstream's driver of a test that passes on ours.
fn in_words(upstream: Outcome) -> &'static str {
    match upstream {
        Outcome::Passed => "passes on upstream's driver",
        Outcome::Failed => "fails on upstream's driver",
        Outcome::Hung => "hangs on upstream's driver",
        Outcome::Skipped => "is skipped on upstream's driver",
        Outcome::EndedMachine => "ends the machine on upstream's driver",
        Outcome::Varies => "fails sometimes on upstream's driver",
    }
}

/// Returns the tests that are recorded of upstream's driver and did not run on ours.
fn missing_tests<'a>(
    upstream: &[(String, Outcome)],
    ours: &[(String, Outcome)],
) -> impl Iterator<Item = Row<'a>> {
    let ours: HashSet<_> = ours.iter().map(|(name, _)| name).collect();
    let missing = upstream
        .iter()
        .filter(move |(name, _)| !ours.contains(name));
    missing.map(|(name, _)| Row {
        name: name.clone(),
        verdict: Verdict::Unlisted,
        ids: Vec::new(),
        parts: Vec::new(),
        details: vec!["has a result on upstream's driver, but did not run here".to_owned()],
    })
}

fn compare_cases<'a>(
    upstream: &[String],
    ours: &[String],
    list: &'a Differences,
    incomplete: bool,
    complete: bool,
) -> Vec<Row<'a>> {
    let mut upstream_cases = by_name(upstream);
    let mut rows = Vec::new();
    for case in ours.iter().filter_map(|line| Case::parse(line)) {
        let ids = list.of(&case.name);
        let Some(upstream) = upstream_cases.remove(&case.name) else {
            let verdict = match incomplete {
                true => Verdict::NotReached,
                false => Verdict::Unrecorded,
            };
            rows.push(Row {
                name: case.name,
                verdict,
                ids,
                parts: Vec::new(),
                details: vec!["has no result on upstream's driver".to_owned()],
            });
            continue;
        };
        let differences = upstream.differences(&case);
        let verdict = match (differences.is_empty(), ids.is_empty()) {
            (true, true) => Verdict::Same,
            (true, false) => Verdict::Gone,
            (false, true) => Verdict::Unlisted,
            (false, false) => Verdict::Listed,
        };
        rows.push(Row {
            name: case.name,
            verdict,
            ids,
            parts: differences
                .iter()
                .map(|difference| difference.part)
                .collect(),
            details: differences.iter().map(ToString::to_string).collect(),
        });
    }
    // If not all programs ran, cases may be missing.
    let mut rest: Vec<_> = match complete {
        true => upstream_cases.into_keys().collect(),
        false => Vec::new(),
    };
    rest.sort();
    rows.extend(rest.into_iter().map(|name| Row {
        name,
        verdict: Verdict::Unlisted,
        ids: Vec::new(),
        parts: Vec::new(),
        details: vec!["has no result on our driver".to_owned()],
    }));
    rows.sort_by(|a, b| a.group().cmp(b.group()));
    rows
}

fn by_name(lines: &[String]) -> HashMap<String, Case> {
    let cases = lines.iter().filter_map(|line| Case::parse(line));
    cases.map(|case| (case.name.clone(), case)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{EndedMachine, Failed, Hung, Passed, Skipped, Varies};

    fn list() -> Differences {
        let text = "id,behaviour,upstream,here,cases\nA1,,,,io.bad* X.listed\nR1,,,,io.worse\n";
        Differences::read(text.as_bytes()).unwrap()
    }

    fn results(tests: &[(&str, Outcome)], transcript: &[&str]) -> Results {
        let named = tests
            .iter()
            .map(|(name, outcome)| ((*name).to_owned(), *outcome));
        Results {
            tests: named.collect(),
            transcript: transcript.iter().map(|line| (*line).to_owned()).collect(),
            ..Results::default()
        }
    }

    fn verdicts(upstream: &Results, ours: &Results) -> Vec<Verdict> {
        let list = list();
        let rows = compare(upstream, ours, &list, false).rows;
        rows.iter().map(|row| row.verdict).collect()
    }

    #[test]
    fn tests_are_joined_by_name() {
        let ours = results(
            &[
                ("io.a", Passed),
                ("io.bad", Passed),
                ("io.c", Passed),
                ("io.d", Failed),
                ("io.e", Skipped),
            ],
            &[],
        );
        let upstream = results(
            &[
                ("io.a", Passed),
                ("io.bad", Failed),
                ("io.c", Failed),
                ("io.d", Passed),
                ("io.e", Passed),
            ],
            &[],
        );
        use Verdict::*;
        assert_eq!(
            verdicts(&upstream, &ours),
            [Same, Listed, Unlisted, Broken, Unlisted]
        );
    }

    #[test]
    fn a_listed_test_that_ends_the_machine_excuses_those_behind_it() {
        let ours = [
            ("io.a", Passed),
            ("io.bad", Passed),
            ("io.c", Passed),
            ("memory.d", Passed),
        ];
        use Verdict::*;
        let verdicts = |upstream: &[_]| verdicts(&results(upstream, &[]), &results(&ours, &[]));
        let upstream = [
            ("io.a", Passed),
            ("io.bad", EndedMachine),
            ("memory.d", Passed),
        ];
        assert_eq!(verdicts(&upstream), [Same, Listed, NotReached, Same]);
        // It failed, and the next test could not run.
        let upstream = [("io.a", Passed), ("io.bad", Failed), ("memory.d", Passed)];
        assert_eq!(verdicts(&upstream), [Same, Listed, NotReached, Same]);
        // It is not listed, so it does not excuse a later test.
        let upstream = [("io.a", EndedMachine), ("io.bad", Failed)];
        assert_eq!(
            verdicts(&upstream),
            [Unlisted, Listed, NotReached, Unrecorded]
        );
    }

    #[test]
    fn kernel_warnings_are_put_down_to_a_listed_test() {
        let ours = [
            ("io.bad", Passed),
            ("io.kernel_log", Passed),
            ("memory.kernel_log", Passed),
        ];
        let upstream = ours.map(|(name, _)| (name, Failed));
        use Verdict::*;
        let verdicts = verdicts(&results(&upstream, &[]), &results(&ours, &[]));
        assert_eq!(verdicts, [Listed, Listed, Unlisted]);
    }

    #[test]
    fn what_upstream_runs_must_not_be_skipped() {
        let names = ["io.a", "io.bad", "io.worse", "io.x", "io.z"];
        let ours = results(&names.map(|name| (name, Skipped)), &[]);
        let outcomes = [Passed, Failed, Hung, EndedMachine, Skipped];
        let upstream: Vec<_> = names.into_iter().zip(outcomes).collect();
        use Verdict::*;
        let expected = [Unlisted, Unlisted, Unlisted, Unlisted, Same];
        assert_eq!(verdicts(&results(&upstream, &[]), &ours), expected);
    }

    #[test]
    fn a_listed_test_may_hang() {
        let ours = results(&[("io.bad", Passed), ("io.c", Hung)], &[]);
        let upstream = results(&[("io.bad", Hung), ("io.c", Hung)], &[]);
        use Verdict::*;
        assert_eq!(verdicts(&upstream, &ours), [Listed, Broken]);
    }

    #[test]
    fn what_upstream_skips_must_be_listed() {
        let ours = results(&[("io.a", Passed), ("io.bad", Passed)], &[]);
        let upstream = results(&[("io.a", Skipped), ("io.bad", Skipped)], &[]);
        use Verdict::*;
        assert_eq!(verdicts(&upstream, &ours), [Unlisted, Listed]);
    }

    #[test]
    fn a_recorded_test_must_run_if_all_do() {
        let upstream = results(
            &[("io.a", Passed), ("io.gone", Passed), ("memory.d", Passed)],
            &[],
        );
        let ours = results(&[("io.a", Passed), ("memory.d", Passed)], &[]);
        assert_eq!(verdicts(&upstream, &ours), [Verdict::Same; 2]);
        let list = list();
        let all = compare(&upstream, &ours, &list, true);
        let names: Vec<_> = all.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["io.a", "io.gone", "memory.d"]);
        assert_eq!(all.rows[1].verdict, Verdict::Unlisted);
    }

    #[test]
    fn cases_are_joined_by_name() {
        let ours = [
            "X.a | 0 | - | -",
            "X.b | 0 | - | -",
            "X.listed | 0 | - | -",
            "X.new | 0 | - | -",
        ];
        let upstream = [
            "X.listed | EIO | - | -",
            "X.a | 0 | - | -",
            "X.b | 0 | 1 | -",
            "X.old | 0 | - | -",
        ];
        use Verdict::*;
        let verdicts = verdicts(&results(&[], &upstream), &results(&[], &ours));
        assert_eq!(verdicts, [Same, Unlisted, Listed, Unrecorded]);
        let list = list();
        let all = compare(&results(&[], &upstream), &results(&[], &ours), &list, true);
        let old = all.rows.iter().find(|row| row.name == "X.old").unwrap();
        assert_eq!(old.verdict, Unlisted);
    }

    #[test]
    fn a_listed_case_must_differ() {
        let line = ["X.listed | EIO | - | -"];
        let verdicts = verdicts(&results(&[], &line), &results(&[], &line));
        assert_eq!(verdicts, [Verdict::Gone]);
    }

    #[test]
    fn what_varies_must_be_listed() {
        let ours = results(&[("io.bad", Passed), ("io.c", Passed)], &[]);
        let upstream = results(&[("io.bad", Varies), ("io.c", Varies)], &[]);
        let expected = [Verdict::Listed, Verdict::Unlisted];
        assert_eq!(verdicts(&upstream, &ours), expected);
    }

    #[test]
    fn cases_are_not_reached_if_their_program_was_not() {
        let ours = results(
            &[("transcript.bad", Passed), ("transcript.x", Passed)],
            &["X.a | 0 | - | -"],
        );
        let upstream = results(&[("transcript.bad", EndedMachine)], &[]);
        let text = "id,behaviour,upstream,here,cases\nA1,,,,transcript.bad\n";
        let list = Differences::read(text.as_bytes()).unwrap();
        let compared = compare(&upstream, &ours, &list, false);
        assert_eq!(compared.rows[0].verdict, Verdict::NotReached);
    }
}
