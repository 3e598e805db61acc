// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Runs the selftests on a driver, and compares the results of our driver with the record.

use std::{fs::File, io, path::PathBuf, thread, time::Instant};

use crate::{
    MISTAKES, REBOOT, Reported, Run,
    cli::{Chance, Driver, Limits, Machine, Recorded},
    compare::{self, TRANSCRIPT},
    conclude,
    differences::Differences,
    ktap::{Results, Totals},
    mistakes::{self, Mistake},
    print_seed, reboot,
    record::{Lines, Record},
    refuse,
    shown::Show,
    tables::Detail,
};

/// The approximate run times of long programs in seconds, by which the machines are balanced.
const LONG: [(&str, u32); 7] = [
    ("linux", 210),
    ("races", 50),
    ("power", 45),
    ("memory", 35),
    ("fuzz", 25),
    ("allocations", 20),
    ("lifecycle", 20),
];
/// The approximate run time of any other program, in seconds.
const SHORT: u32 = 8;
/// The number of changes that are shown.
const SHOWN: usize = 20;

/// The options of a check.
pub struct Options<'a> {
    pub machine: &'a Machine,
    pub limits: &'a Limits,
    pub chance: Chance,
    /// The kernel is a variant without a record of upstream's driver.
    pub other_kernel: bool,
    /// The mistakes that the check must notice.
    pub mistakes: &'a [Mistake],
    /// The number of machines that run at the same time.
    pub machines: usize,
    pub only: Option<&'a str>,
}

/// Runs the selftests, and returns whether all passed.
pub fn run(
    options: &Options<'_>,
    recorded: Option<&Recorded>,
    add_results: &[PathBuf],
) -> io::Result<bool> {
    let &Options {
        machine,
        limits,
        chance,
        only,
        ..
    } = options;
    if only == Some(REBOOT) {
        return conclude(reboot::run(machine, limits)?, add_results);
    }
    if only == Some(MISTAKES) {
        let totals = mistakes::run(machine, limits, chance, options.mistakes)?;
        return conclude(totals, add_results);
    }
    println!("seed {}", chance.seed);
    let began = Instant::now();
    let (ours, mut totals) = match only {
        Some(_) => {
            let mut run = Run::selftests(machine, limits, chance, only);
            if machine.driver == Driver::C {
                run.show = Show::WithTranscript;
            }
            let reported = run.report(None)?;
            println!(
                "\nOn the {} driver:\n{}\n",
                machine.driver.name(),
                reported.text
            );
            (reported.results, reported.totals)
        }
        None => run_all(options)?,
    };
    println!("the machines took {} s\n", began.elapsed().as_secs());
    if let Some(recorded) = recorded.filter(|_| machine.driver == Driver::Rust) {
        totals.add(judge_ours(&ours, recorded, only)?);
        if !options.other_kernel {
            totals.add(judge(&ours, recorded, only)?);
        }
    }
    print_seed(totals, chance);
    conclude(totals, add_results)
}

/// Runs all programs on machines that run at the same time, and the tests that need a machine
/// alone.
fn run_all(options: &Options<'_>) -> io::Result<(Results, Totals)> {
    let &Options {
        machine,
        limits,
        chance,
        machines,
        ..
    } = options;
    let mut programs = machine.programs();
    if programs.is_empty() {
        return Err(io::Error::other("there are no programs of the selftests"));
    }
    fastrand::Rng::with_seed(chance.seed).shuffle(&mut programs);
    let dealt = deal(&programs, machines.max(1));
    let work = |number: usize, programs: &[String]| -> io::Result<(Reported, Totals)> {
        let machine = machine.numbered(number);
        let mut alone = Totals::default();
        if number == dealt.len() {
            alone.add(refuse(&machine, limits)?);
            alone.add(reboot::run(&machine, limits)?);
            alone.add(mistakes::run(&machine, limits, chance, options.mistakes)?);
        }
        println!("machine {number}: {}", programs.join(" "));
        let mut run = Run::selftests(&machine, limits, chance, Some(&programs.join(",")));
        if dealt.len() > 1 {
            run.show = Show::Machine(number);
        }
        Ok((run.report(None)?, alone))
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (1..)
            .zip(&dealt)
            .map(|(number, programs)| scope.spawn(move || work(number, programs)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            thread.join().unwrap_or_else(panicked)
        };
        threads.into_iter().map(join).collect()
    });
    let mut results = Results::default();
    let mut totals = Totals::default();
    let driver = machine.driver.name();
    println!("\nOn the {driver} driver:");
    for machine in ended {
        let (reported, alone) = machine?;
        println!("{}", reported.text);
        totals.add(alone);
        totals.add(reported.totals);
        results.tests.extend(reported.results.tests);
        results.transcript.extend(reported.results.transcript);
    }
    println!();
    // The order of the programs does not depend on the distribution.
    results
        .tests
        .sort_by_key(|(name, _)| compare::group(name).to_owned());
    Ok((results, totals))
}

/// Distributes programs to `machines`: the longest first, each to the machine with the least work.
///
/// The programs of a machine keep their order.
fn deal(programs: &[String], machines: usize) -> Vec<Vec<String>> {
    let time = |program: &String| {
        let known = LONG.iter().find(|(name, _)| name == program);
        known.map_or(SHORT, |(_, seconds)| *seconds)
    };
    let mut longest: Vec<_> = (0..programs.len()).collect();
    longest.sort_by_key(|&index| std::cmp::Reverse(time(&programs[index])));
    // The last machine runs other tests first.
    let mut busy = vec![0; machines];
    busy[machines - 1] = 2 * SHORT;
    let mut dealt = vec![Vec::new(); machines];
    for index in longest {
        let least = (0..machines)
            .min_by_key(|&machine| busy[machine])
            .unwrap_or(0);
        busy[least] += time(&programs[index]);
        dealt[least].push(index);
    }
    dealt
        .into_iter()
        .filter(|indices| !indices.is_empty())
        .map(|mut indices| {
            indices.sort();
            indices
                .into_iter()
                .map(|index| programs[index].clone())
                .collect()
        })
        .collect()
}

/// Compares the results of our driver with its record.
fn judge_ours(ours: &Results, recorded: &Recorded, only: Option<&str>) -> io::Result<Totals> {
    let record = Record::new(&recorded.record, &recorded.kernel_release)?;
    let mut totals = Totals::default();

    let transcript_ran = only.is_none_or(|only| only.split(',').any(|name| name == TRANSCRIPT));
    if transcript_ran || !ours.transcript.is_empty() {
        let lines = Lines::new(&ours.transcript).map_err(io::Error::other)?;
        if lines.is_empty() {
            println!("not ok the transcript has no case");
            totals.failed += 1;
        }
        let changes = record.ours()?.changes(&lines, transcript_ran);
        for change in changes.iter().take(SHOWN) {
            println!("Our driver differs from its record: {}", change.describe());
        }
        match changes.len() {
            0 => totals.passed += usize::from(!lines.is_empty()),
            count => {
                println!(
                    "not ok our driver differs from its record in {count} cases \
                     (`make compare ONLY=transcript` records an intended change)"
                );
                totals.failed += count;
            }
        }
    }
    Ok(totals)
}

/// Compares the results of our driver with the record of upstream's driver.
fn judge(ours: &Results, recorded: &Recorded, only: Option<&str>) -> io::Result<Totals> {
    let record = Record::new(&recorded.record, &recorded.kernel_release)?;
    let list = read_differences(recorded)?;
    let (upstream, remark) = record.upstream()?;
    println!("Compared with the record of upstream's driver:");
    if let Some(remark) = remark {
        println!("{remark}");
    }
    let upstream = upstream.results();
    let comparison = compare::compare(&upstream, ours, &list, only.is_none());
    let detail = match only {
        Some(_) => Detail::Failures,
        None => Detail::Tables,
    };
    println!("{}", comparison.report(detail));
    Ok(comparison.totals())
}

/// Reads the list of differences.
pub fn read_differences(recorded: &Recorded) -> io::Result<Differences> {
    let name = recorded.differences.display();
    let named = |error: &dyn std::fmt::Display| io::Error::other(format!("{name}: {error}"));
    let file = File::open(&recorded.differences).map_err(|error| named(&error))?;
    Differences::read(file).map_err(|error| named(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_dealt_out_by_their_time_and_keep_their_order() {
        let programs = ["io", "races", "linux", "memory", "compat"].map(str::to_owned);
        let dealt = deal(&programs, 2);
        assert_eq!(
            dealt,
            [vec!["linux"], vec!["io", "races", "memory", "compat"]]
        );
        assert_eq!(deal(&programs, 1), [programs.to_vec()]);
        assert_eq!(deal(&programs[..1], 2).len(), 1);
    }
}
