// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Starts the test-bed and judges what comes of it.

mod bench;
mod check;
mod cli;
mod compare;
mod differences;
mod initramfs;
mod ktap;
mod mistakes;
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
use testbed_watch::is_complaint;

/// What init says when the User VM is done and nothing uses the driver any more.
const DEMO_SUCCESS: &str = "testbed: acrn-vmm: exit status: 0; the driver is unloaded";

/// What `--only` calls the reboot of the Service VM, which is no program of the selftests.
const REBOOT: &str = "reboot";
/// And what the check must see, which is none either.
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

/// A run of the machine that reports.
struct Run<'a> {
    machine: &'a Machine,
    limits: &'a Limits,
    boot: Boot,
    parameters: String,
    show: Show,
}

/// Kernel parameter: tests that hang need not do so for long.
const IMPATIENT: &str = " testbed.patience=little";
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
        let only = only.map_or_else(|| machine.programs().join(","), str::to_owned);
        let mut parameters = selftests_parameters(&only) + &chance.parameters();
        if machine.driver == Driver::C {
            // Some tests end the machine: those are the last ones of their programs.
            parameters += IN_ORDER;
            // And many hang.
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
        show: Show::AsItComes,
    };
    run.report(None).map(|report| report.totals)
}

/// The closing line, and whether all is well.
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

/// What came of a run.
struct Reported {
    results: Results,
    /// Failed and skipped tests, and a line a program.
    text: String,
    totals: Totals,
}

impl Run<'_> {
    /// Runs the machine. `program` is the only one that runs, if it is.
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
        // A complaint in the middle of a run is also a failed program, by init's look at the kernel's log.
        for fault in &outcome.faults {
            if !report.is_complete() || !is_complaint(fault) {
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

/// Shows what a bad run said last.
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
    // At once: another machine may run beside it.
    print!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_results_does_not_pass() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("results")];
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
