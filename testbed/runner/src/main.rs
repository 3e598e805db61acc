// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Starts the test-bed and judges what comes of it.

mod cli;
mod initramfs;
mod ktap;
mod qemu;

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::Parser;
use cli::{Cli, Job, Limits, Machine};
use ktap::{Report, Totals};
use qemu::{Boot, Listener, Outcome};

/// What init says when the User VM is done and nothing uses the driver any more.
const DEMO_SUCCESS: &str = "testbed: acrn-vmm: exit status: 0; the driver is unloaded";

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
            only,
            report_only,
            add_results,
        } => check(
            &machine,
            &limits,
            only.as_deref(),
            report_only,
            &add_results,
        ),
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

impl Listener for Report {
    fn report(&mut self, line: &str) {
        println!("{line}");
        self.line(line);
    }

    fn console(&mut self, _line: &str) {}
}

fn check(
    machine: &Machine,
    limits: &Limits,
    only: Option<&str>,
    report_only: bool,
    add_results: &[PathBuf],
) -> io::Result<bool> {
    let mut totals = Totals::default();
    if only.is_none() {
        totals.add(run_report(
            machine,
            Boot::Linux,
            limits,
            "quiet testbed.job=refuse",
        )?);
    }
    for only in runs(machine, only, report_only) {
        let only = only.map_or(String::new(), |only| format!(" testbed.only={only}"));
        let parameters = format!("quiet testbed.job=check{only}");
        totals.add(run_report(machine, Boot::MiniAcrn, limits, &parameters)?);
    }
    if report_only {
        println!("(report only: {totals})");
        return Ok(true);
    }
    for file in add_results {
        totals.add(ktap::flat(&fs::read_to_string(file)?));
    }
    println!("{totals}");
    Ok(totals.failed == 0 && totals != Totals::default())
}

/// Which programs each run is for; `None` is all of them. Where failures are expected, a program that takes the
/// kernel down must not take the others with it: each gets a machine of its own.
fn runs(machine: &Machine, only: Option<&str>, report_only: bool) -> Vec<Option<String>> {
    if only.is_some() || !report_only {
        return vec![only.map(str::to_owned)];
    }
    let names = machine.selftests.iter().filter_map(|path| path.file_name());
    names
        .map(|name| Some(name.to_string_lossy().into_owned()))
        .collect()
}

/// One run of the machine, and its report in words.
fn run_report(
    machine: &Machine,
    boot: Boot,
    limits: &Limits,
    parameters: &str,
) -> io::Result<Totals> {
    let mut report = Report::default();
    let outcome = qemu::run(machine, boot, limits, parameters, false, &mut report)?;
    show_faults(&outcome)?;
    // A WARNING in the middle of a run is also a failed program, by init's look at the kernel's log.
    for fault in &outcome.faults {
        if !report.is_complete() || !fault.contains("WARNING:") {
            report.fail(fault);
        }
    }
    let (text, totals) = report.finish();
    println!("\nOn the {} driver:\n{text}\n", machine.driver.name());
    Ok(totals)
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
