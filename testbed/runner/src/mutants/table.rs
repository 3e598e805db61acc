// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The table of all slips and verdicts, and the judgement on it.

use std::{fmt::Write, iter};

use super::slip::{Expected, Slip};

/// The percentage of the slips that change behaviour that tests must notice.
const ENOUGH: usize = 90;

/// The verdict on a slip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Noticed by this test, or by a warning of the kernel or the hypervisor.
    Killed { by: String, as_expected: bool },
    /// All tests passed.
    Survived,
    /// The slip shows nothing about the tests: it does not apply or build, or names a missing test.
    Wrong(String),
}

/// The slips with their verdicts.
pub struct Table<'a>(pub Vec<(&'a Slip, Verdict)>);

/// The number of slips by verdict.
#[derive(Clone, Copy, Default)]
struct Counts {
    total: usize,
    killed: usize,
    survived: usize,
    equivalent: usize,
    wrong: usize,
}

impl Counts {
    /// Returns the percentage of noticed slips of those that change behaviour, rounded down.
    fn percentage(&self) -> usize {
        match self.total - self.equivalent {
            0 => 100,
            counted => 100 * self.killed / counted,
        }
    }
}

impl Table<'_> {
    fn counts(&self, is_counted: impl Fn(&Slip) -> bool) -> Counts {
        let mut counts = Counts::default();
        for (slip, verdict) in self.0.iter().filter(|(slip, _)| is_counted(slip)) {
            counts.total += 1;
            match (verdict, &slip.expected) {
                (Verdict::Killed { .. }, _) => counts.killed += 1,
                (Verdict::Survived, Expected::Equivalent(_)) => counts.equivalent += 1,
                (Verdict::Survived, _) => counts.survived += 1,
                (Verdict::Wrong(_), _) => counts.wrong += 1,
            }
        }
        counts
    }

    /// Describes all verdicts.
    pub fn report(&self) -> String {
        let mut text = String::new();
        self.slips(&mut text);
        self.areas(&mut text);
        text
    }

    /// Here and below: writing to a string does not fail.
    fn slips(&self, text: &mut String) {
        let width = |name: fn(&Slip) -> &str| {
            let lengths = self.0.iter().map(|(slip, _)| name(slip).len());
            lengths.max().unwrap_or(0)
        };
        let (names, files) = (width(|slip| &slip.name), width(|slip| &slip.file));
        for (slip, verdict) in &self.0 {
            let (word, detail) = match (verdict, &slip.expected) {
                (Verdict::Killed { by, .. }, _) => ("killed", by.as_str()),
                (Verdict::Survived, Expected::Equivalent(reason)) => {
                    ("equivalent", reason.as_str())
                }
                (Verdict::Survived, Expected::Survives(reason)) => ("survived", reason.as_str()),
                (Verdict::Survived, _) => ("survived", "no reason is known"),
                (Verdict::Wrong(error), _) => ("error", error.as_str()),
            };
            let Slip { name, file, .. } = slip;
            let _ = writeln!(text, "{name:<names$}  {file:<files$}  {word:<10}  {detail}");
        }
    }

    fn areas(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n{:<14} {:>5} {:>6} {:>8} {:>10} {:>5} {:>13}",
            "", "all", "killed", "survived", "equivalent", "error", "killed, in %"
        );
        let mut areas: Vec<_> = self.0.iter().map(|(slip, _)| slip.area()).collect();
        areas.dedup();
        let areas = areas
            .into_iter()
            .map(|area| (area, self.counts(|slip| slip.area() == area)));
        let all = [
            ("concurrency", self.counts(|slip| slip.is_concurrency)),
            ("all", self.counts(|_| true)),
        ];
        for (name, counts) in areas.chain(all) {
            let Counts {
                total,
                killed,
                survived,
                equivalent,
                wrong,
            } = counts;
            let _ = writeln!(
                text,
                "{name:<14} {total:>5} {killed:>6} {survived:>8} {equivalent:>10} {wrong:>5} \
                 {:>13}",
                counts.percentage()
            );
        }
    }

    /// Returns the tests that noticed a slip, by program.
    pub fn killers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(_, verdict)| match verdict {
            // A warning contains blanks.
            Verdict::Killed { by, .. } if !by.contains(' ') => by.split_once('.'),
            _ => None,
        })
    }

    /// Returns remarks that are not failures.
    pub fn notes(&self) -> Vec<String> {
        let by_others = self.0.iter().filter_map(|(slip, verdict)| match verdict {
            Verdict::Killed {
                by,
                as_expected: false,
            } => Some(format!(
                "{}: killed by {by}, not by the tests that it names",
                slip.name
            )),
            _ => None,
        });
        by_others.collect()
    }

    /// Returns the failures, one a line. The percentage is judged only if all slips are in the
    /// table.
    pub fn failures(&self, is_complete: bool) -> Vec<String> {
        let wrong = self.0.iter().filter_map(|(slip, verdict)| {
            let problem = match (verdict, &slip.expected) {
                (Verdict::Wrong(error), _) => error.clone(),
                (Verdict::Survived, Expected::SeenBy(_) | Expected::Killed) => {
                    "survived, and its file has no reason".to_owned()
                }
                (Verdict::Killed { by, .. }, Expected::Survives(_)) => {
                    format!("survives by its file, and is killed by {by}")
                }
                (Verdict::Killed { by, .. }, Expected::Equivalent(_)) => {
                    format!("is equivalent by its file, and is killed by {by}")
                }
                _ => return None,
            };
            Some(format!("{}: {problem}", slip.name))
        });
        let percentage = self.counts(|_| true).percentage();
        let too_few = (is_complete && percentage < ENOUGH)
            .then(|| format!("{percentage} % are killed, not {ENOUGH} %"));
        wrong.chain(iter::once(too_few).flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn slip(name: &str, expected: Expected) -> Slip {
        Slip {
            name: name.to_owned(),
            path: PathBuf::new(),
            file: "ioreq.rs".to_owned(),
            is_concurrency: name.ends_with("race"),
            programs: Vec::new(),
            expected,
        }
    }

    fn killed(as_expected: bool) -> Verdict {
        Verdict::Killed {
            by: "io.a".to_owned(),
            as_expected,
        }
    }

    #[test]
    fn survivors_need_a_reason() {
        let reason = || "a reason".to_owned();
        let slips = [
            slip("io/a", Expected::Survives(reason())),
            slip("io/b", Expected::Equivalent(reason())),
            slip("io/c", Expected::SeenBy(Vec::new())),
            slip("io/d", Expected::Killed),
        ];
        let with = |verdict: &Verdict| {
            let rows = slips.iter().map(|slip| (slip, verdict.clone()));
            Table(rows.collect()).failures(false)
        };
        let named = |failures: Vec<String>| -> Vec<String> {
            let names = failures.iter().filter_map(|text| text.get(..4));
            names.map(str::to_owned).collect()
        };
        assert_eq!(named(with(&Verdict::Survived)), ["io/c", "io/d"]);
        assert_eq!(named(with(&killed(true))), ["io/a", "io/b"]);
        assert_eq!(with(&Verdict::Wrong("x".to_owned())).len(), 4);
    }

    #[test]
    fn equivalent_ones_do_not_count() {
        let reason = || "a reason".to_owned();
        let seen = slip("io/race", Expected::SeenBy(Vec::new()));
        let survivor = slip("mm/a", Expected::Survives(reason()));
        let equivalent = slip("mm/b", Expected::Equivalent(reason()));
        let mut rows = vec![(&seen, killed(true)); 9];
        rows.extend([
            (&survivor, Verdict::Survived),
            (&equivalent, Verdict::Survived),
        ]);
        let table = Table(rows);
        assert_eq!(table.failures(true), [""; 0]);
        let report = table.report();
        assert!(
            report.contains("mm                 2      0        1          1     0             0")
        );
        assert!(
            report.contains("concurrency        9      9        0          0     0           100")
        );
        assert!(
            report.contains("all               11      9        1          1     0            90")
        );
        let mut rows = table.0;
        rows.push((&survivor, Verdict::Survived));
        let table = Table(rows);
        assert_eq!(table.failures(true), ["81 % are killed, not 90 %"]);
        assert_eq!(table.failures(false), [""; 0]);
    }

    #[test]
    fn another_killer_is_noted() {
        let seen = slip("io/a", Expected::SeenBy(Vec::new()));
        let table = Table(vec![(&seen, killed(false)), (&seen, killed(true))]);
        assert_eq!(table.notes().len(), 1);
        assert_eq!(table.failures(true), [""; 0]);
    }
}
