// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! What upstream's driver and ours did with the same tests and cases, joined by name.

use std::{collections::HashMap, fmt::Write};

use crate::{
    differences::{Differences, defects},
    ktap::{BESIDE_TESTS, Outcome, Results, Totals},
    transcript::Case,
};

/// The program whose lines are compared one by one.
const TRANSCRIPT: &str = "transcript";
/// Names told of what shows a defect.
const EXAMPLES: usize = 3;

/// What came of comparing one test or case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No difference.
    Same,
    /// A difference that is on the list.
    Listed,
    /// A difference that is not.
    Unlisted,
    /// Upstream's driver had brought its machine down before.
    NotReached,
    /// Ours fails, which is no difference but a bug.
    Broken,
}

/// A test or case that was compared.
pub struct Row<'a> {
    /// `PROGRAM.TEST` or `COMMAND.case`.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    ids: Vec<&'a str>,
    details: Vec<String>,
}

impl Row<'_> {
    /// The program or the command.
    fn group(&self) -> &str {
        group(&self.name)
    }
}

fn group(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// All that was compared.
pub struct Comparison<'a> {
    rows: Vec<Row<'a>>,
    /// Patterns of the list that match nothing.
    unused: Vec<&'a str>,
    /// Whether all programs ran.
    complete: bool,
}

/// Compares what is in `ours` with what is in `upstream`. If not all programs ran, only what did is judged.
pub fn compare<'a>(
    upstream: &Results,
    ours: &Results,
    list: &'a Differences,
    complete: bool,
) -> Comparison<'a> {
    let tests = compare_tests(&upstream.tests, &ours.tests, list);
    let wedged = tests
        .iter()
        .any(|row| row.group() == TRANSCRIPT && row.verdict == Verdict::NotReached);
    let mut rows = compare_cases(&upstream.transcript, &ours.transcript, list, wedged);
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

/// Compares tests. After a listed one took the machine down, or left it a wreck, those behind it that have no
/// result are not held against anybody.
pub fn compare_tests<'a>(
    upstream: &[(String, Outcome)],
    ours: &[(String, Outcome)],
    list: &'a Differences,
) -> Vec<Row<'a>> {
    let known: HashMap<_, _> = upstream.iter().cloned().collect();
    let mut rows = Vec::new();
    for tests in ours.chunk_by(|(a, _), (b, _)| group(a) == group(b)) {
        // Whether a listed test may be the reason of what comes after it.
        let mut blamed = false;
        let mut reached = true;
        for (name, outcome) in tests {
            let ids = list.of(name);
            reached |= known.contains_key(name);
            let (verdict, detail) = match (known.get(name), outcome) {
                (_, Outcome::Failed) => (Verdict::Broken, "fails here"),
                (Some(Outcome::Failed), Outcome::Passed) if ids.is_empty() => {
                    (Verdict::Unlisted, "fails on upstream's driver")
                }
                (Some(Outcome::Failed), Outcome::Passed) => {
                    blamed = true;
                    (Verdict::Listed, "fails on upstream's driver")
                }
                (Some(_), _) => (Verdict::Same, ""),
                // The first without a result is the one that ended the machine.
                (None, _) if reached && !ids.is_empty() => {
                    (blamed, reached) = (true, false);
                    (Verdict::Listed, "ends the machine on upstream's driver")
                }
                (None, _) if reached && !blamed => {
                    reached = false;
                    (Verdict::Unlisted, "ends the machine on upstream's driver")
                }
                (None, _) => {
                    reached = false;
                    (Verdict::NotReached, "")
                }
            };
            rows.push(Row {
                name: name.clone(),
                verdict,
                ids,
                details: vec![detail.to_owned()],
            });
        }
    }
    rows
}

fn compare_cases<'a>(
    upstream: &[String],
    ours: &[String],
    list: &'a Differences,
    wedged: bool,
) -> Vec<Row<'a>> {
    let mut upstream_cases = by_name(upstream);
    let mut rows = Vec::new();
    for case in ours.iter().filter_map(|line| Case::parse(line)) {
        let ids = list.of(&case.name);
        let details = match upstream_cases.remove(&case.name) {
            Some(upstream) => upstream.differences(&case),
            None => vec!["not there on upstream's driver".to_owned()],
        };
        let missing = details.iter().any(|detail| detail.starts_with("not there"));
        let verdict = match (details.is_empty(), ids.is_empty()) {
            (true, _) => Verdict::Same,
            (false, _) if missing && wedged => Verdict::NotReached,
            (false, true) => Verdict::Unlisted,
            (false, false) => Verdict::Listed,
        };
        rows.push(Row {
            name: case.name,
            verdict,
            ids,
            details,
        });
    }
    let mut rest: Vec<_> = upstream_cases.into_keys().collect();
    rest.sort();
    rows.extend(rest.into_iter().map(|name| Row {
        name,
        verdict: Verdict::Unlisted,
        ids: Vec::new(),
        details: vec!["not there on ours".to_owned()],
    }));
    rows.sort_by(|a, b| a.group().cmp(b.group()));
    rows
}

fn by_name(lines: &[String]) -> HashMap<String, Case> {
    let cases = lines.iter().filter_map(|line| Case::parse(line));
    cases.map(|case| (case.name.clone(), case)).collect()
}

impl Comparison<'_> {
    /// Everything in words: a table by command and program, the differences, and the defects.
    pub fn report(&self) -> String {
        let mut text = String::new();
        self.tables(&mut text);
        self.details(&mut text);
        self.defects(&mut text);
        for failure in self.failures() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "not ok {failure}");
        }
        text
    }

    fn groups(&self) -> impl Iterator<Item = (&str, &[Row<'_>])> {
        let groups = self.rows.chunk_by(|a, b| a.group() == b.group());
        groups.filter_map(|rows| Some((rows.first()?.group(), rows)))
    }

    fn tables(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "Upstream's driver and ours, by command (cases) and by program (tests):\n\
             {:<22} {:>5} {:>5} {:>6} {:>8} {:>11} {:>10}",
            "", "all", "same", "listed", "unlisted", "not reached", "fails here"
        );
        for (group, rows) in self.groups() {
            let rows: Vec<_> = rows
                .iter()
                .filter(|row| !row.name.ends_with(BESIDE_TESTS) || row.verdict != Verdict::Same)
                .collect();
            let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
            let _ = writeln!(
                text,
                "{group:<22} {:>5} {:>5} {:>6} {:>8} {:>11} {:>10}",
                rows.len(),
                count(Verdict::Same),
                count(Verdict::Listed),
                count(Verdict::Unlisted),
                count(Verdict::NotReached),
                count(Verdict::Broken),
            );
        }
    }

    fn details(&self, text: &mut String) {
        let _ = writeln!(text, "\nWhere they differ:");
        for row in &self.rows {
            let why = match row.verdict {
                Verdict::Listed => row.ids.join(", "),
                Verdict::Unlisted => "NOT LISTED".to_owned(),
                _ => continue,
            };
            let _ = writeln!(text, "{} ({why})", row.name);
            for detail in &row.details {
                let _ = writeln!(text, "    {detail}");
            }
        }
    }

    fn defects(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\nDefects of upstream's driver in this run, by Documentation/differences.csv:\n\
             {:<10} {:>5} {:>5} {:>9} {:>11} {:>10}  shown by",
            "", "all", "shown", "not shown", "not reached", "fails here"
        );
        for id in defects().chain(["extension".to_owned()]) {
            let rows: Vec<_> = self.of(&id).collect();
            if rows.is_empty() && !self.complete {
                continue;
            }
            let with = |verdict| rows.iter().filter(move |row| row.verdict == verdict);
            let examples: Vec<_> = with(Verdict::Listed)
                .take(EXAMPLES)
                .map(|row| row.name.as_str())
                .collect();
            let _ = writeln!(
                text,
                "{id:<10} {:>5} {:>5} {:>9} {:>11} {:>10}  {}",
                rows.len(),
                with(Verdict::Listed).count(),
                with(Verdict::Same).count(),
                with(Verdict::NotReached).count(),
                with(Verdict::Broken).count(),
                examples.join(" ")
            );
        }
    }

    fn of(&self, id: &str) -> impl Iterator<Item = &Row<'_>> {
        self.rows.iter().filter(move |row| row.ids.contains(&id))
    }

    /// What is wrong, one thing a line.
    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (group, rows) in self.groups() {
            let unlisted = rows.iter().filter(|row| row.verdict == Verdict::Unlisted);
            match unlisted.count() {
                0 => {}
                count => {
                    failures.push(format!("{group}: differences that are not listed: {count}"))
                }
            }
        }
        failures.extend(
            self.unused
                .iter()
                .map(|pattern| format!("the list: nothing is called {pattern}")),
        );
        if self.complete {
            let untested = defects().filter(|id| self.of(id).next().is_none());
            failures.extend(untested.map(|id| format!("{id}: no test shows it")));
        }
        failures
    }

    /// A test for each command and program, and, if all programs ran, for each defect and for the list.
    pub fn totals(&self) -> Totals {
        let failed = self.failures().len();
        let lists = usize::from(self.complete) * (defects().count() + 1);
        let all = self.groups().count() + lists;
        Totals {
            passed: all.saturating_sub(failed),
            failed,
            skipped: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failed, Passed, Skipped};

    fn list() -> Differences {
        let text = "id,what,upstream,here,cases\nA1,,,,io.bad* X.listed\nR1,,,,io.worse\n";
        Differences::read(text.as_bytes()).unwrap()
    }

    fn results(tests: &[(&str, Outcome)], transcript: &[&str]) -> Results {
        let named = tests
            .iter()
            .map(|(name, outcome)| ((*name).to_owned(), *outcome));
        Results {
            tests: named.collect(),
            transcript: transcript.iter().map(|line| (*line).to_owned()).collect(),
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
            [Same, Listed, Unlisted, Broken, Same]
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
        let upstream = [("io.a", Passed), ("memory.d", Passed)];
        use Verdict::*;
        let verdicts = |upstream: &[_]| verdicts(&results(upstream, &[]), &results(&ours, &[]));
        assert_eq!(verdicts(&upstream), [Same, Listed, NotReached, Same]);
        // It failed, and what came next could not be run.
        let upstream = [("io.a", Passed), ("io.bad", Failed), ("memory.d", Passed)];
        assert_eq!(verdicts(&upstream), [Same, Listed, NotReached, Same]);
        // Nobody is to blame for this.
        assert_eq!(
            verdicts(&upstream[1..2]),
            [Unlisted, Listed, NotReached, Unlisted]
        );
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
        assert_eq!(verdicts, [Same, Unlisted, Listed, Unlisted, Unlisted]);
    }

    #[test]
    fn cases_are_not_reached_if_their_program_was_not() {
        let ours = results(
            &[("transcript.bad", Passed), ("transcript.x", Passed)],
            &["X.a | 0 | - | -"],
        );
        let upstream = results(&[], &[]);
        let text = "id,what,upstream,here,cases\nA1,,,,transcript.bad\n";
        let list = Differences::read(text.as_bytes()).unwrap();
        let compared = compare(&upstream, &ours, &list, false);
        assert_eq!(compared.rows[0].verdict, Verdict::NotReached);
        assert_eq!(compared.totals().failed, 0);
    }

    #[test]
    fn each_group_is_a_test_and_so_is_each_defect() {
        let ours = results(
            &[("io.bad", Passed), ("io.c", Passed)],
            &["X.a | 0 | - | -"],
        );
        let upstream = results(
            &[("io.bad", Failed), ("io.c", Failed)],
            &["X.a | 0 | - | -"],
        );
        let list = list();
        let partial = compare(&upstream, &ours, &list, false);
        assert_eq!((partial.totals().passed, partial.totals().failed), (1, 1));
        let complete = compare(&upstream, &ours, &list, true);
        // 31 defects without a test, two patterns without a name, and `io`.
        assert_eq!(complete.totals().failed, 31 + 2 + 1);
        assert!(complete.report().contains("not ok A2: no test shows it"));
        assert!(complete.report().contains("nothing is called X.listed"));
    }
}
