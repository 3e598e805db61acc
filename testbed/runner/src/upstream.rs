// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Runs the selftests on upstream's driver, where some tests end the machine.
//!
//! Each program has a machine of its own. Tests that did not run, or whose failure another test may
//! have caused, run again on another machine.

use std::io;

use crate::{
    compare::{Verdict, compare_tests},
    differences::Differences,
    ktap::{BESIDE_TESTS, Outcome, Results},
};

/// The number of machines that a program may end.
const MACHINES: usize = 8;

/// Runs tests of a program on a new machine: all tests without a list.
pub trait Machines {
    /// Runs `program`, or only `tests` of it.
    fn run(&mut self, program: &str, tests: Option<&[&str]>) -> io::Result<Results>;
}

/// Runs a program. `ours` are the results of our driver, which give the names of the tests.
pub fn run(
    machines: &mut impl Machines,
    program: &str,
    ours: &[(String, Outcome)],
    list: &Differences,
) -> io::Result<Results> {
    let prefix = format!("{program}.");
    let ours: Vec<_> = ours
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix))
        .cloned()
        .collect();
    let names: Vec<&str> = ours
        .iter()
        .filter_map(|(name, _)| name.strip_prefix(&prefix))
        .filter(|name| *name != BESIDE_TESTS)
        .collect();

    let mut results = Results::default();
    run_through(machines, program, None, &names, &mut results)?;

    // Only a repeated failure counts for an unlisted test after a listed one that may have damaged
    // the machine.
    let rows = compare_tests(&results.tests, &ours, list);
    let mut blamed = false;
    let mut again = Vec::new();
    for row in &rows {
        blamed |= row.verdict == Verdict::Listed;
        let test = row.name.strip_prefix(&prefix).unwrap_or_default();
        if blamed && row.verdict == Verdict::Unlisted && test != BESIDE_TESTS {
            again.push(test);
        }
    }
    if !again.is_empty() {
        run_through(machines, program, Some(&again), &again, &mut results)?;
    }
    Ok(results)
}

/// Runs `tests` of a program, or all of its tests, whose names are `names`. After a test that ends
/// the machine, another machine continues with the next test.
fn run_through(
    machines: &mut impl Machines,
    program: &str,
    tests: Option<&[&str]>,
    names: &[&str],
    results: &mut Results,
) -> io::Result<()> {
    let mut left = names;
    for machine in 1.. {
        let tests = if machine == 1 { tests } else { Some(left) };
        let mut run = machines.run(program, tests)?;
        let has_result = |test: &&str| {
            let name = format!("{program}.{test}");
            run.tests.iter().any(|(known, _)| *known == name)
        };
        let done = left.iter().rposition(has_result).map_or(0, |last| last + 1);
        if let Some((culprit, rest)) = left[done..].split_first() {
            let culprit = format!("{program}.{culprit}");
            run.tests.push((culprit.clone(), Outcome::EndedMachine));
            let crash = run.crash.take();
            run.crashes.extend(crash.map(|crash| (culprit, crash)));
            left = rest;
        } else {
            left = &[];
        }
        add(results, run);
        if left.is_empty() || machine == MACHINES {
            break;
        }
    }
    Ok(())
}

/// Later results replace earlier ones, except kernel warnings.
fn add(results: &mut Results, later: Results) {
    for (name, outcome) in later.tests {
        match results.tests.iter_mut().find(|(known, _)| *known == name) {
            Some((known, _)) if known.ends_with(BESIDE_TESTS) && outcome == Outcome::Passed => {}
            Some((_, known)) => *known = outcome,
            None => results.tests.push((name, outcome)),
        }
    }
    results.transcript.extend(later.transcript);
    results.crashes.extend(later.crashes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{EndedMachine, Failed, Passed};

    /// Machines that end at some tests, and fail `c` after `a`.
    struct Fake {
        deadly: &'static [&'static str],
        /// Ends a machine even if it runs alone.
        deadly_alone: &'static str,
        asked: Vec<Vec<String>>,
    }

    impl Machines for Fake {
        fn run(&mut self, program: &str, tests: Option<&[&str]>) -> io::Result<Results> {
            let names = tests.unwrap_or(&["a", "b", "c", "d"]);
            self.asked
                .push(names.iter().map(|name| (*name).to_owned()).collect());
            let is_deadly = |name: &str| {
                self.deadly.contains(&name) || (names.len() == 1 && name == self.deadly_alone)
            };
            let alive = names.iter().take_while(|name| !is_deadly(name));
            let result = |name: &&str| match *name {
                "a" => Failed,
                "c" if names.len() > 1 => Failed,
                _ => Passed,
            };
            let crash = names.iter().find(|name| is_deadly(name));
            Ok(Results {
                crash: crash.map(|name| format!("BUG: {name}")),
                tests: alive
                    .map(|name| (format!("{program}.{name}"), result(name)))
                    .collect(),
                ..Results::default()
            })
        }
    }

    /// Returns the results, and the tests that each machine was asked to run.
    fn run_fake(
        deadly: &'static [&'static str],
        listed: &str,
    ) -> (Vec<(String, Outcome)>, Vec<Vec<String>>) {
        let (results, asked) = run_machines(deadly, "", listed);
        (results.tests, asked)
    }

    fn run_machines(
        deadly: &'static [&'static str],
        deadly_alone: &'static str,
        listed: &str,
    ) -> (Results, Vec<Vec<String>>) {
        let list = format!("id,behaviour,upstream,here,cases\nA1,,,,{listed}\n");
        let list = Differences::read(list.as_bytes()).unwrap();
        let ours = ["io.a", "io.b", "io.c", "io.d"].map(|name| (name.to_owned(), Passed));
        let mut machines = Fake {
            deadly,
            deadly_alone,
            asked: Vec::new(),
        };
        let mut results = run(&mut machines, "io", &ours, &list).unwrap();
        results.tests.sort_by(|(a, _), (b, _)| a.cmp(b));
        (results, machines.asked)
    }

    #[test]
    fn others_go_on_after_the_one_that_ended_the_machine() {
        let (results, asked) = run_fake(&["b"], "io.a io.b");
        let expected = [
            ("io.a", Failed),
            ("io.b", EndedMachine),
            ("io.c", Passed),
            ("io.d", Passed),
        ];
        assert_eq!(
            results,
            expected.map(|(name, outcome)| (name.to_owned(), outcome))
        );
        assert_eq!(asked, [&["a", "b", "c", "d"][..], &["c", "d"], &["c"]]);
    }

    #[test]
    fn one_that_ends_its_machine_at_once_is_not_tried_again() {
        let (results, asked) = run_fake(&["b", "c"], "io.a io.b io.c");
        let expected = [
            ("io.a", Failed),
            ("io.b", EndedMachine),
            ("io.c", EndedMachine),
            ("io.d", Passed),
        ];
        assert_eq!(
            results,
            expected.map(|(name, outcome)| (name.to_owned(), outcome))
        );
        assert_eq!(asked, [&["a", "b", "c", "d"][..], &["c", "d"], &["d"]]);
    }

    #[test]
    fn a_repeated_crash_is_reported() {
        let (results, asked) = run_machines(&[], "c", "io.a io.c");
        assert_eq!(asked.len(), 1, "nothing is unlisted");
        assert!(results.crashes.is_empty());
        let (results, asked) = run_machines(&[], "c", "io.a");
        assert_eq!(asked[1..], [["c"]]);
        assert_eq!(results.tests[2], ("io.c".to_owned(), EndedMachine));
        let crash = ("io.c".to_owned(), "BUG: c".to_owned());
        assert_eq!(results.crashes, [crash]);
    }
}
