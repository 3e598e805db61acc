// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Makes a new record.

use std::{
    collections::BTreeSet,
    io,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use crate::{
    Run,
    check::read_differences,
    cli::{Chance, Limits, Machine, Recorded},
    compare::{self, TRANSCRIPT},
    differences::Differences,
    ktap::{Outcome, Results},
    record::{self, Lines, Record},
    shown::Show,
    tables::Detail,
    upstream::{self, Machines},
};

/// The number of attempts for a program that differs from the record.
const TRIES: usize = 3;

/// Upstream's driver. The ends of its runs are not judged.
pub struct Upstream {
    pub machine: Machine,
    pub limits: Limits,
    pub chance: Chance,
}

/// One of the machines of upstream's driver.
struct Numbered<'a>(&'a Upstream, Machine);

impl Machines for Numbered<'_> {
    fn run(&mut self, program: &str, tests: Option<&[&str]>) -> io::Result<Results> {
        let Self(upstream, machine) = self;
        let only = match tests {
            Some(tests) => format!("{program}.{}", tests.join(",")),
            None => program.to_owned(),
        };
        let mut run = Run::selftests(machine, &upstream.limits, upstream.chance, Some(&only));
        run.show = Show::Nothing;
        run.report(Some(program)).map(|reported| reported.results)
    }
}

/// Makes a new record of both drivers, or of the program `only`.
///
/// Returns whether the record is unchanged and agrees with the list of differences. `ours` runs the
/// transcript on our driver.
pub fn run(
    ours: &Run<'_>,
    upstream: &Upstream,
    recorded: &Recorded,
    machines: usize,
    only: Option<&str>,
) -> io::Result<bool> {
    let record = Record::new(&recorded.record, &recorded.kernel_release)?;
    let list = read_differences(recorded)?;
    let mut programs = ours.machine.programs();
    programs.retain(|program| only.is_none_or(|only| only.split(',').any(|name| name == program)));
    if programs.is_empty() {
        return Err(io::Error::other("there is no such program"));
    }
    let mut expected = Results {
        tests: tests_of(ours.machine, &programs)?,
        ..Results::default()
    };
    let mut changed = 0;

    if programs.iter().any(|program| program == TRANSCRIPT) {
        println!("The transcript on our driver:");
        let reported = ours.report(None)?;
        if reported.totals.failed != 0 {
            println!("{}", reported.text);
            return Ok(false);
        }
        let lines = Lines::new(&reported.results.transcript).map_err(io::Error::other)?;
        for change in record.ours()?.changes(&lines, true) {
            changed += 1;
            println!("Our driver: {}", change.describe());
        }
        record.write_ours(&lines)?;
        expected.transcript = lines.all();
    }

    println!("The selftests on upstream's driver:");
    let before = record.of_this_version()?;
    let known = !before.results().tests.is_empty();
    let complete = only.is_none();
    let mut tries = Vec::new();
    let mut left = programs;
    let now = loop {
        let results = run_programs(upstream, &left, &expected.tests, &list, machines)?;
        tries.push(record::Upstream::new(&results).map_err(io::Error::other)?);
        let now = record::Upstream::settle(&before, &tries, complete);
        let changed = before.changes(&now, complete);
        left = again(&changed);
        if left.is_empty() || tries.len() == TRIES || !known {
            break now;
        }
        println!(
            "Again, as the results differ from the record: {}",
            left.join(" ")
        );
    };
    let changes = before.changes(&now, complete);
    changed += changes.len();
    // The table shows tests without a record.
    for change in changes.iter().filter(|change| change.before.is_some()) {
        println!("Upstream's driver: {}", change.describe());
    }
    if !known {
        println!("There was no record of upstream's driver on this version of Linux.");
    }
    let directory = record.write_upstream(&now)?;

    let comparison = compare::compare(&now.results(), &expected, &list, complete);
    println!("\n{}", comparison.report(Detail::All));
    let listed = comparison.totals().failed == 0;
    println!(
        "{} changes of the record in {}{}",
        changed,
        directory.parent().unwrap_or(&directory).display(),
        match changed {
            0 => "",
            _ => ": look at them with `git diff`, and commit them",
        }
    );
    Ok(changed == 0 && listed)
}

/// Returns the tests that programs list. As our driver passes them in `make check`, they count as
/// passed.
fn tests_of(machine: &Machine, programs: &[String]) -> io::Result<Vec<(String, Outcome)>> {
    let mut tests = Vec::new();
    for path in &machine.selftests {
        let program = path.file_name().unwrap_or_default().to_string_lossy();
        if !programs.iter().any(|wanted| *wanted == program) {
            continue;
        }
        let output = Command::new(path).arg("--list").output()?;
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = names.lines().chain([crate::ktap::BESIDE_TESTS]);
        tests.extend(names.map(|test| (format!("{program}.{test}"), Outcome::Passed)));
    }
    Ok(tests)
}

/// Returns the programs that differ from the record, each once.
fn again(changes: &[record::Change]) -> Vec<String> {
    let ended = changes
        .iter()
        .filter(|change| change.before.is_some() && change.now.is_some());
    let programs = ended.map(|change| match change.is_test() {
        true => compare::group(&change.name).to_owned(),
        false => TRANSCRIPT.to_owned(),
    });
    programs.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Runs programs, as many at a time as there are machines.
fn run_programs(
    upstream: &Upstream,
    programs: &[String],
    ours: &[(String, Outcome)],
    list: &Differences,
    machines: usize,
) -> io::Result<Results> {
    let queue = Mutex::new(programs.iter());
    let all = Mutex::new(Results::default());
    let work = |number| {
        let mut machine = Numbered(upstream, upstream.machine.numbered(number));
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(program) = next() {
            let began = Instant::now();
            let results = upstream::run(&mut machine, program, ours, list)?;
            let count = |wanted| {
                let all = results.tests.iter();
                all.filter(|(_, outcome)| *outcome == wanted).count()
            };
            println!(
                "{program:<12} {:>3} pass, {:>2} fail, {} hang, {} end the machine ({} s)",
                count(Outcome::Passed),
                count(Outcome::Failed),
                count(Outcome::Hung),
                count(Outcome::EndedMachine),
                began.elapsed().as_secs()
            );
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.tests.extend(results.tests);
            all.transcript.extend(results.transcript);
            all.crashes.extend(results.crashes);
        }
        Ok::<_, io::Error>(())
    };

    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (1..=machines.max(1))
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            thread.join().unwrap_or_else(panicked)
        })
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Change;

    #[test]
    fn programs_run_again_that_did_something_else() {
        let change = |name: &str, before: &str, now: Option<&str>| Change {
            name: name.to_owned(),
            before: Some(before.to_owned()),
            now: now.map(str::to_owned),
        };
        let changes = [
            change("io.a", "passes", Some("fails")),
            change("io.b", "fails", Some("passes")),
            change("memory.gone", "passes", None),
            change("X.a", "X.a | 0 | - | -", Some("X.a | EIO | - | -")),
        ];
        assert_eq!(again(&changes), ["io", "transcript"]);
    }
}
