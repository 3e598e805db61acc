// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Runs the test-bed and judges the results.

mod bench;
mod check;
mod cli;
mod compare;
mod differences;
mod initramfs;
mod ktap;
mod mistakes;
mod monitor;
mod mutants;
mod qemu;
mod reboot;
mod record;
mod remake;
mod shown;
mod tables;
mod transcript;
mod upstream;

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::Parser;
use cli::{Chance, Cli, Driver, Job, Limits, Machine};
use ktap::{Results, Totals};
use qemu::{Boot, Listener, Outcome};
use shown::{Show, Shown};
use testbed_watch::is_warning;

/// The line of init after the User VM has ended and the driver is unloaded.
const DEMO_SUCCESS: &str = "testbed: acrn-vmm: exit status: 0; the driver is unloaded";

/// The name for `--only` of the reboot test, which is not a program of the selftests.
const REBOOT: &str = "reboot";
/// The name for `--only` of the mistakes that a check must notice.
const MISTAKES: &str = "mistakes";

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
            recorded,
            other_kernel,
            mistakes,
            machines,
            only,
            add_results,
        } => check::run(
            &check::Options {
                machine: &machine,
                limits: &limits,
                chance,
                other_kernel,
                mistakes: &mistakes,
                machines,
                only: only.as_deref(),
            },
            recorded.as_ref(),
            &add_results,
        ),
        Job::Compare {
            machine,
            limits,
            upstream_silence,
            chance,
            recorded,
            machines,
            only,
        } => {
            let upstream = remake::Upstream {
                machine: machine.with(Driver::C),
                limits: Limits {
                    silence: upstream_silence,
                    ..limits
                },
                chance,
            };
            let machine = machine.with(Driver::Rust);
            let run = Run::selftests(&machine, &limits, chance, Some(compare::TRANSCRIPT));
            remake::run(&run, &upstream, &recorded, machines, only.as_deref())
        }
        Job::Bench {
            machine,
            limits,
            options,
        } => bench::run(&machine, &limits, &options),
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

/// Watches the console for [`DEMO_SUCCESS`].
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
        println!("The User VM did not end successfully.");
    }
    Ok(listener.succeeded && outcome.faults.is_empty())
}

/// A run of a machine that prints a KTAP report.
struct Run<'a> {
    machine: &'a Machine,
    limits: &'a Limits,
    boot: Boot,
    parameters: String,
    show: Show,
}

/// Kernel parameter: a test that hangs times out early.
const IMPATIENT: &str = " testbed.patience=little";
/// Kernel parameter: tests run in the order in which their program declares them.
const IN_ORDER: &str = " testbed.order=declared";

/// Returns the kernel parameters for programs of the selftests, `PROGRAM,PROGRAM`, or for some
/// tests of one, `PROGRAM.TEST,TEST`.
fn selftests_parameters(only: &str) -> String {
    let parameters = "quiet testbed.job=check testbed.only=".to_owned();
    match only.split_once('.') {
        Some((program, tests)) => parameters + program + " testbed.tests=" + tests,
        None => parameters + only,
    }
}

impl<'a> Run<'a> {
    /// Returns a run of the selftests, of one program, or of some of its tests:
    /// `PROGRAM.TEST,TEST`.
    fn selftests(
        machine: &'a Machine,
        limits: &'a Limits,
        chance: Chance,
        only: Option<&str>,
    ) -> Self {
        let only = only.map_or_else(|| machine.programs().join(","), str::to_owned);
        let mut parameters = selftests_parameters(&only) + &chance.parameters();
        if machine.driver == Driver::C {
            // Tests that end the machine are the last of their programs.
            parameters += IN_ORDER;
            // Many tests hang.
            parameters += IMPATIENT;
        }
        Self {
            machine,
            limits,
            boot: Boot::MiniAcrn,
            parameters,
            show: Show::AsItComes,
        }
    }
}

/// Prints the seed of a failed run, with which the run can be repeated.
fn print_seed(totals: Totals, chance: Chance) {
    if totals.failed != 0 {
        println!("The seed of this run: {}", chance.seed);
    }
}

/// Runs the driver on a machine without ACRN, where it must refuse to load.
fn refuse(machine: &Machine, limits: &Limits) -> io::Result<Totals> {
    let run = Run {
        machine,
        limits,
        boot: Boot::Linux,
        parameters: "quiet testbed.job=refuse".to_owned(),
        show: Show::AsItComes,
    };
    run.report(None).map(|report| report.totals)
}

/// Prints the last line, with the totals, and returns whether all tests passed.
fn conclude(mut totals: Totals, add_results: &[PathBuf]) -> io::Result<bool> {
    for file in add_results {
        let name = file.display();
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        let results = ktap::flat(&text);
        if results == Totals::default() {
            return Err(io::Error::other(format!("{name}: no results")));
        }
        totals.add(results);
    }
    println!("{totals}");
    Ok(totals.failed == 0 && totals != Totals::default())
}

/// The results of a run.
struct Reported {
    results: Results,
    /// Failed and skipped tests, and a line for each program.
    text: String,
    totals: Totals,
}

impl Run<'_> {
    /// Runs the machine. `program` is set if only one program runs.
    fn report(&self, program: Option<&str>) -> io::Result<Reported> {
        let mut shown = Shown::new(self.show);
        let outcome = qemu::run(
            self.machine,
            self.boot,
            self.limits,
            &self.parameters,
            false,
            &mut shown,
        )?;
        let mut report = shown.end();
        if self.show != Show::Nothing {
            show_faults(&outcome)?;
        }
        let mut results = report.take_results(program);
        results.crash = outcome.crash();
        // If the run continued after a kernel warning, init has reported the program as
        // failed.
        for fault in &outcome.faults {
            if !report.is_complete() || !is_warning(fault) {
                report.fail(fault);
            }
        }
        let (text, totals) = report.finish();
        Ok(Reported {
            results,
            text,
            totals,
        })
    }
}

/// Prints the faults of a run, with the last lines of its output.
fn show_faults(outcome: &Outcome) -> io::Result<()> {
    if outcome.faults.is_empty() {
        return Ok(());
    }
    let mut text = "\nLast lines of the Service VM's console:\n".to_owned();
    for line in &outcome.last_lines {
        text += &format!("  {line}\n");
    }
    text += "Last lines of mini-ACRN's log:\n";
    let log = fs::read(&outcome.hypervisor_log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(20)..] {
        text += &format!("  {line}\n");
    }
    for fault in &outcome.faults {
        text += &format!("testbed-runner: {fault}\n");
    }
    // In one call, as another machine may print at the same time.
    print!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_results_does_not_pass() {
        let directory = tempfile::tempdir().unwrap();
        let files = [directory.path().join("results")];
        let passed = Totals {
            passed: 1,
            ..Totals::default()
        };
        assert!(!conclude(Totals::default(), &[]).unwrap());
        assert!(conclude(passed, &[]).unwrap());
        assert!(conclude(passed, &files).is_err());
        for (text, passes) in [
            ("", None),
            ("not ok a\n", Some(false)),
            ("ok a\n", Some(true)),
        ] {
            fs::write(&files[0], text).unwrap();
            assert_eq!(conclude(passed, &files).ok(), passes, "{text}");
        }
    }
}
