// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Prints a comparison as tables, and finds its failures.

use std::fmt::Write;

use crate::{
    compare::{Comparison, Row, Verdict},
    differences::defects,
    ktap::{BESIDE_TESTS, Totals},
    transcript::PARTS,
};

/// The number of unlisted differences that are shown for each command or program.
const UNLISTED: usize = 8;
/// The number of names that are shown for each defect.
const EXAMPLES: usize = 3;

/// The amount of detail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The failures, and the tests and cases that were not compared.
    Failures,
    /// A table by command and program, the failures, and the defects.
    Tables,
    /// The same, and each difference.
    All,
}

impl Comparison<'_> {
    /// Describes the results.
    pub fn report(&self, detail: Detail) -> String {
        let mut text = String::new();
        if detail != Detail::Failures {
            self.tables(&mut text);
        }
        self.details(&mut text, detail);
        if detail != Detail::Failures {
            self.defects(&mut text);
        }
        let unrecorded = self
            .rows
            .iter()
            .filter(|row| row.verdict == Verdict::Unrecorded);
        let unrecorded: Vec<_> = unrecorded.map(|row| row.name.as_str()).collect();
        if !unrecorded.is_empty() {
            let _ = writeln!(
                text,
                "{} tests and cases are not compared, as they are newer than the record of \
                 upstream's driver (`make compare` records them): {}",
                unrecorded.len(),
                unrecorded.join(" ")
            );
        }
        for failure in self.failures() {
            let _ = writeln!(text, "not ok {failure}");
        }
        text
    }

    fn groups(&self) -> impl Iterator<Item = (&str, &[Row<'_>])> {
        let groups = self.rows.chunk_by(|a, b| a.group() == b.group());
        groups.filter_map(|rows| Some((rows.first()?.group(), rows)))
    }

    fn tables(&self, text: &mut String) {
        let [result, seen, hypercalls] = PARTS;
        // Here and below: writing to a string does not fail.
        let _ = writeln!(
            text,
            "Upstream's driver and ours, by command (cases, and their parts that differ) \
             and by program (tests):\n\
             {:<22} {:>5} {:>5} {:>6} {:>8} {:>4} {:>11} {:>9} {:>10}   \
             {result:>6} {seen:>6} {hypercalls:>10}",
            "",
            "all",
            "same",
            "listed",
            "unlisted",
            "gone",
            "not reached",
            "no record",
            "fails here"
        );
        for (group, rows) in self.groups() {
            let of_tests = |row: &&Row<'_>| !row.name.ends_with(BESIDE_TESTS);
            let rows: Vec<_> = rows.iter().filter(of_tests).collect();
            let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
            let differ = |part| rows.iter().filter(|row| row.parts.contains(&part)).count();
            let _ = writeln!(
                text,
                "{group:<22} {:>5} {:>5} {:>6} {:>8} {:>4} {:>11} {:>9} {:>10}   \
                 {:>6} {:>6} {:>10}",
                rows.len(),
                count(Verdict::Same),
                count(Verdict::Listed),
                count(Verdict::Unlisted),
                count(Verdict::Gone),
                count(Verdict::NotReached),
                count(Verdict::Unrecorded),
                count(Verdict::Broken),
                differ(result),
                differ(seen),
                differ(hypercalls),
            );
        }
    }

    fn details(&self, text: &mut String, detail: Detail) {
        if detail == Detail::All {
            let _ = writeln!(text, "\nWhere they differ:");
        }
        for (group, rows) in self.groups() {
            let differing = |row: &&Row<'_>| match row.verdict {
                Verdict::Unlisted | Verdict::Gone => true,
                Verdict::Listed => detail == Detail::All,
                _ => false,
            };
            let mut unlisted = 0;
            for row in rows.iter().filter(differing) {
                let why = match row.verdict {
                    Verdict::Unlisted => {
                        unlisted += 1;
                        "NOT LISTED".to_owned()
                    }
                    Verdict::Gone => format!("{}: LISTED WITHOUT A DIFFERENCE", row.ids.join(", ")),
                    _ if row.ids.is_empty() => "after a listed test".to_owned(),
                    _ => row.ids.join(", "),
                };
                if row.verdict == Verdict::Unlisted && unlisted > UNLISTED {
                    continue;
                }
                let _ = writeln!(text, "{} ({why})", row.name);
                for detail in &row.details {
                    let _ = writeln!(text, "    {detail}");
                }
            }
            if let more @ 1.. = unlisted.saturating_sub(UNLISTED) {
                let _ = writeln!(text, "{group}: {more} more that are NOT LISTED");
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

    /// Returns the failures, one a line.
    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (group, rows) in self.groups() {
            for (verdict, what) in [
                (Verdict::Unlisted, "differences that are not listed"),
                (Verdict::Gone, "listed cases that do not differ"),
            ] {
                match rows.iter().filter(|row| row.verdict == verdict).count() {
                    0 => {}
                    count => failures.push(format!("{group}: {what}: {count}")),
                }
            }
        }
        failures.extend(
            self.unused
                .iter()
                .map(|pattern| format!("the list: no test or case matches {pattern}")),
        );
        if self.complete {
            let untested = defects().filter(|id| self.of(id).next().is_none());
            failures.extend(untested.map(|id| format!("{id}: no test shows it")));
        }
        failures
    }

    /// Counts a test for each command and program and, if all programs ran, for each defect and for
    /// the list.
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
    use super::Detail;
    use crate::{
        compare::compare,
        differences::Differences,
        ktap::{
            Outcome::{self, Failed, Passed},
            Results,
        },
    };

    fn results(tests: &[(&str, Outcome)]) -> Results {
        let named = tests
            .iter()
            .map(|(name, outcome)| ((*name).to_owned(), *outcome));
        Results {
            tests: named.collect(),
            transcript: vec!["X.a | 0 | - | -".to_owned()],
            ..Results::default()
        }
    }

    #[test]
    fn each_group_is_a_test_and_so_is_each_defect() {
        let ours = results(&[("io.bad", Passed), ("io.c", Passed)]);
        let upstream = results(&[("io.bad", Failed), ("io.c", Failed)]);
        let text = "id,behaviour,upstream,here,cases\nA1,,,,io.bad* X.listed\nR1,,,,io.worse\n";
        let list = Differences::read(text.as_bytes()).unwrap();
        let partial = compare(&upstream, &ours, &list, false);
        assert_eq!((partial.totals().passed, partial.totals().failed), (1, 1));
        let complete = compare(&upstream, &ours, &list, true);
        // 31 defects without a test, two patterns without a name, and `io`.
        assert_eq!(complete.totals().failed, 31 + 2 + 1);
        assert!(
            complete
                .report(Detail::All)
                .contains("not ok A2: no test shows it")
        );
        assert!(
            complete
                .report(Detail::All)
                .contains("no test or case matches X.listed")
        );
    }
}
