// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The selftests on upstream's driver, of which some bring the machine down: each program has a machine of its
//! own, and what did not get its turn, or may be another's fault, gets another one.

use std::io;

use crate::{
    compare::{Verdict, compare_tests},
    differences::Differences,
    ktap::{BESIDE_TESTS, Outcome, Results},
};

/// Machines that a program may bring down.
const MACHINES: usize = 3;

/// Runs tests of a program on a fresh machine: all of them without a list.
pub trait Machines {
    /// Runs `program`, or only `tests` of it.
    fn run(&mut self, program: &str, tests: Option<&[&str]>) -> io::Result<Results>;
}

/// Runs a program. `ours` are the results of our driver, which tell what tests there are.
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

    let mut results = machines.run(program, None)?;
    for _ in 1..MACHINES {
        let has_result = |test: &&str| {
            let tests = &results.tests;
            tests
                .iter()
                .any(|(name, _)| name.strip_prefix(&prefix) == Some(test))
        };
        // The first without a result, which ended the machine, is not tried again.
        let next = names
            .iter()
            .rposition(has_result)
            .map_or(0, |last| last + 1);
        let left = names.get(next + 1..).unwrap_or_default();
        if left.is_empty() {
            break;
        }
        add(&mut results, machines.run(program, Some(left))?);
    }

    // A failure that is not listed, on a machine that a listed one may have made a wreck, counts alone.
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
        add(&mut results, machines.run(program, Some(&again))?);
    }
    Ok(results)
}

/// Later results replace earlier ones, but for complaints of the kernel.
fn add(results: &mut Results, later: Results) {
    for (name, outcome) in later.tests {
        match results.tests.iter_mut().find(|(known, _)| *known == name) {
            Some((known, _)) if known.ends_with(BESIDE_TESTS) && outcome == Outcome::Passed => {}
            Some((_, known)) => *known = outcome,
            None => results.tests.push((name, outcome)),
        }
    }
    results.transcript.extend(later.transcript);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failed, Passed};

    /// Machines that die of test `b`, and fail `c` after `a`.
    #[derive(Default)]
    struct Fake(Vec<Option<Vec<String>>>);

    impl Machines for Fake {
        fn run(&mut self, program: &str, tests: Option<&[&str]>) -> io::Result<Results> {
            let names = tests.unwrap_or(&["a", "b", "c", "d"]);
            self.0
                .push(tests.map(|tests| tests.iter().map(|t| (*t).to_owned()).collect()));
            let alive = names.iter().take_while(|name| **name != "b");
            let result = |name: &&str| match *name {
                "a" => Failed,
                "c" if names.len() > 1 => Failed,
                _ => Passed,
            };
            Ok(Results {
                tests: alive
                    .map(|name| (format!("{program}.{name}"), result(name)))
                    .collect(),
                transcript: Vec::new(),
            })
        }
    }

    #[test]
    fn others_go_on_after_the_one_that_ended_the_machine() {
        let list = "id,what,upstream,here,cases\nA1,,,,io.a io.b\n";
        let list = Differences::read(list.as_bytes()).unwrap();
        let ours = ["io.a", "io.b", "io.c", "io.d"].map(|name| (name.to_owned(), Passed));
        let mut machines = Fake::default();
        let results = run(&mut machines, "io", &ours, &list).unwrap();
        let expected = [("io.a", Failed), ("io.c", Passed), ("io.d", Passed)];
        assert_eq!(
            results.tests,
            expected.map(|(name, outcome)| (name.to_owned(), outcome))
        );
        let asked =
            |tests: &[&str]| Some(tests.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(machines.0, [None, asked(&["c", "d"]), asked(&["c"])]);
    }
}
