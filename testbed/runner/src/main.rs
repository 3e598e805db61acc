// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Starts the test-bed and judges what comes of it.

mod cli;
mod compare;
mod differences;
mod initramfs;
mod ktap;
mod mutants;
mod qemu;
mod reboot;
mod tables;
mod transcript;
mod upstream;

use std::{fs, fs::File, io, path::PathBuf, process::ExitCode};

use clap::Parser;
use cli::{Chance, Cli, Driver, Job, Limits, Machine};
use differences::Differences;
use ktap::{Report, Results, Totals};
use qemu::{Boot, Listener, Outcome};
use upstream::Machines;

/// What init says when the User VM is done and nothing uses the driver any more.
const DEMO_SUCCESS: &str = "testbed: acrn-vmm: exit status: 0; the driver is unloaded";

/// What `--only` calls the reboot of the Service VM, which is no program of the selftests.
const REBOOT: &str = "reboot";

fn main() -> ExitCode {
    let outcome = match Cli::parse().job {
        Job::Demo {
            machine,
            limits,
            interactive,
        } => demo(&machine, &limits, interactive),
        Job::Check {
            machine,
            limits,
            chance,
            only,
            add_results,
        } => check(&machine, &limits, chance, only.as_deref(), &add_results),
        Job::Compare {
            machine,
            limits,
            upstream_silence,
            differences,
            chance,
            only,
            add_results,
        } => File::open(&differences).and_then(|file| {
            let list = Differences::read(file)
                .map_err(|error| io::Error::other(format!("{}: {error}", differences.display())))?;
            let upstream = Upstream {
                machine: machine.with(Driver::C),
                limits: Limits {
                    silence: upstream_silence,
                    ..limits
                },
                chance,
            };
            let machine = machine.with(Driver::Rust);
            compare(
                &machine,
                &limits,
                upstream,
                &list,
                chance,
                only.as_deref(),
                &add_results,
            )
        }),
        Job::Mutants {
            machine,
            limits,
            slips,
            only,
            jobs,
            fresh,
        } => mutants::run(&machine, &limits, &slips, only.as_deref(), jobs, fresh),
        Job::Slips { slips } => mutants::check(&slips),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("testbed-runner: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Watches the console for init's word of success.
#[derive(Default)]
struct DemoListener {
    succeeded: bool,
}

impl Listener for DemoListener {
    fn report(&mut self, _line: &str) {}

    fn console(&mut self, line: &str) {
        self.succeeded |= line.contains(DEMO_SUCCESS);
    }
}

fn demo(machine: &Machine, limits: &Limits, interactive: bool) -> io::Result<bool> {
    let guest = if interactive {
        "interactive"
    } else {
        "poweroff"
    };
    let parameters = format!("testbed.job=demo testbed.guest={guest}");
    let mut listener = DemoListener::default();
    let outcome = qemu::run(
        machine,
        Boot::MiniAcrn,
        limits,
        &parameters,
        true,
        &mut listener,
    )?;
    show_faults(&outcome)?;
    if !listener.succeeded {
        println!("The User VM did not end well.");
    }
    Ok(listener.succeeded && outcome.faults.is_empty())
}

/// Shows the report as it comes.
struct Shown {
    report: Report,
    /// Leave out what is shown another way.
    without_transcript: bool,
}

impl Listener for Shown {
    fn report(&mut self, line: &str) {
        if !(self.without_transcript && line.contains(ktap::TRANSCRIPT)) {
            println!("{line}");
        }
        self.report.line(line);
    }

    fn console(&mut self, _line: &str) {}
}

/// A run of the machine that reports.
struct Run<'a> {
    machine: &'a Machine,
    limits: &'a Limits,
    boot: Boot,
    parameters: String,
    without_transcript: bool,
}

/// Kernel parameter: tests run in the order in which their program has them.
const IN_ORDER: &str = " testbed.order=declared";

/// Kernel parameters for programs of the selftests, `PROGRAM,PROGRAM`, or some tests of one, `PROGRAM.TEST,TEST`.
fn selftests_parameters(only: &str) -> String {
    let parameters = "quiet testbed.job=check testbed.only=".to_owned();
    match only.split_once('.') {
        Some((program, tests)) => parameters + program + " testbed.tests=" + tests,
        None => parameters + only,
    }
}

impl<'a> Run<'a> {
    /// The selftests, or one program, or some tests of it: `PROGRAM.TEST,TEST`.
    fn selftests(
        machine: &'a Machine,
        limits: &'a Limits,
        chance: Chance,
        only: Option<&str>,
    ) -> Self {
        let only = only.map_or_else(
            || {
                let mut all = programs(machine, None);
                fastrand::Rng::with_seed(chance.seed).shuffle(&mut all);
                all.join(",")
            },
            str::to_owned,
        );
        let mut parameters = selftests_parameters(&only) + &chance.parameters();
        if machine.driver == Driver::C {
            // Some tests end the machine: those are the last ones of their programs.
            parameters += IN_ORDER;
        }
        Self {
            machine,
            limits,
            boot: Boot::MiniAcrn,
            parameters,
            without_transcript: true,
        }
    }
}

fn check(
    machine: &Machine,
    limits: &Limits,
    chance: Chance,
    only: Option<&str>,
    add_results: &[PathBuf],
) -> io::Result<bool> {
    if only == Some(REBOOT) {
        return conclude(reboot::run(machine, limits)?, add_results);
    }
    println!("seed {}", chance.seed);
    let mut totals = Totals::default();
    if only.is_none() {
        totals.add(refuse(machine, limits)?);
        totals.add(reboot::run(machine, limits)?);
    }
    let mut run = Run::selftests(machine, limits, chance, only);
    run.without_transcript = false;
    let (_, counted) = run_report(&run, None)?;
    totals.add(counted);
    tell_seed(totals, chance);
    conclude(totals, add_results)
}

/// A run that failed can be repeated.
fn tell_seed(totals: Totals, chance: Chance) {
    if totals.failed != 0 {
        println!("The seed of this run: {}", chance.seed);
    }
}

/// The driver on a machine without ACRN.
fn refuse(machine: &Machine, limits: &Limits) -> io::Result<Totals> {
    let run = Run {
        machine,
        limits,
        boot: Boot::Linux,
        parameters: "quiet testbed.job=refuse".to_owned(),
        without_transcript: true,
    };
    run_report(&run, None).map(|(_, totals)| totals)
}

/// The closing line, and whether all is well.
fn conclude(mut totals: Totals, add_results: &[PathBuf]) -> io::Result<bool> {
    for file in add_results {
        totals.add(ktap::flat(&fs::read_to_string(file)?));
    }
    println!("{totals}");
    Ok(totals.failed == 0 && totals != Totals::default())
}

/// Upstream's driver. How its runs end is not judged.
struct Upstream {
    machine: Machine,
    limits: Limits,
    chance: Chance,
}

impl Machines for Upstream {
    fn run(&mut self, program: &str, tests: Option<&[&str]>) -> io::Result<Results> {
        let only = match tests {
            Some(tests) => format!("{program}.{}", tests.join(",")),
            None => program.to_owned(),
        };
        let run = Run::selftests(&self.machine, &self.limits, self.chance, Some(&only));
        run_report(&run, Some(program)).map(|(results, _)| results)
    }
}

fn compare(
    machine: &Machine,
    limits: &Limits,
    mut upstream: Upstream,
    list: &Differences,
    chance: Chance,
    only: Option<&str>,
    add_results: &[PathBuf],
) -> io::Result<bool> {
    println!("seed {}", chance.seed);
    println!("The selftests on our driver:");
    let mut totals = Totals::default();
    if only.is_none() {
        totals.add(refuse(machine, limits)?);
        totals.add(reboot::run(machine, limits)?);
    }
    let run = Run::selftests(machine, limits, chance, only);
    let (ours, counted) = run_report(&run, None)?;
    totals.add(counted);

    println!("The selftests on upstream's driver, for comparison:");
    let mut theirs = Results::default();
    for program in programs(machine, only) {
        let results = upstream::run(&mut upstream, &program, &ours.tests, list)?;
        theirs.tests.extend(results.tests);
        theirs.transcript.extend(results.transcript);
    }

    let comparison = compare::compare(&theirs, &ours, list, only.is_none());
    println!("{}", comparison.report());
    totals.add(comparison.totals());
    tell_seed(totals, chance);
    conclude(totals, add_results)
}

/// Names of the programs, or the one that is wanted.
fn programs(machine: &Machine, only: Option<&str>) -> Vec<String> {
    let names = machine.selftests.iter().filter_map(|path| path.file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| only.is_none_or(|only| only == name))
        .collect()
}

/// One run of the machine, and its report in words. `program` is the only one that runs, if it is.
fn run_report(run: &Run<'_>, program: Option<&str>) -> io::Result<(Results, Totals)> {
    let mut shown = Shown {
        report: Report::default(),
        without_transcript: run.without_transcript,
    };
    let outcome = qemu::run(
        run.machine,
        run.boot,
        run.limits,
        &run.parameters,
        false,
        &mut shown,
    )?;
    show_faults(&outcome)?;
    let mut report = shown.report;
    let results = report.take_results(program);
    // A WARNING in the middle of a run is also a failed program, by init's look at the kernel's log.
    for fault in &outcome.faults {
        if !report.is_complete() || !fault.contains("WARNING:") {
            report.fail(fault);
        }
    }
    let (text, totals) = report.finish();
    println!("\nOn the {} driver:\n{text}\n", run.machine.driver.name());
    Ok((results, totals))
}

/// Shows what a bad run said last.
fn show_faults(outcome: &Outcome) -> io::Result<()> {
    if outcome.faults.is_empty() {
        return Ok(());
    }
    println!("\nLast lines of the Service VM's console:");
    for line in &outcome.last_lines {
        println!("  {line}");
    }
    println!("Last lines of mini-ACRN's log:");
    let log = fs::read(&outcome.hypervisor_log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(20)..] {
        println!("  {line}");
    }
    for fault in &outcome.faults {
        println!("testbed-runner: {fault}");
    }
    Ok(())
}
