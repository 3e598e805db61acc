// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Runs the programs in /selftests on a driver, and reports in KTAP on the second serial port: a
//! subtest for each program, and tests for loading and unloading the driver.

use std::{
    ffi::CString,
    fs,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::errno::Errno;
use testbed_watch::Patience;

use crate::{
    command_line::CommandLine, kernel_log::KernelLog, kmemleak::Kmemleak, lockdep, modules,
};

/// The device of the KTAP report.
const REPORT: &str = "/dev/ttyS1";
/// A program is killed if it has printed nothing for this time.
const SILENCE: Duration = Duration::from_secs(180);
/// Number of huge pages of 2 MiB for the programs.
const HUGE_PAGES: &str = "64";

/// Runs all programs, or those in `testbed.only`, in that order. `testbed.tests` restricts them to
/// some tests.
pub fn run(command_line: &CommandLine) -> io::Result<()> {
    let mut report = OpenOptions::new().write(true).open(REPORT)?;
    let mut log = KernelLog::open()?;
    fs::write("/proc/sys/vm/nr_hugepages", HUGE_PAGES)?;

    let programs = programs(command_line.get("only"))?;
    writeln!(report, "KTAP version 1\n1..{}", programs.len() + 2)?;

    let kmemleak = Kmemleak::new()?;
    let driver = command_line.driver();
    let loaded = match command_line.get("probe") {
        // On a real Service VM, only the driver shows the state of the hypervisor.
        Some("no") => Ok(()),
        _ => modules::insmod("/modules/acrn_probe.ko"),
    };
    let loaded = loaded.and_then(|()| modules::insmod(&driver));
    conclude(&mut report, 1, "load", as_failures(loaded))?;
    if let Some(mistake) = command_line.get("mistake") {
        let parameter = CString::new(format!("{mistake}=y"))?;
        modules::try_insmod("/modules/acrn_mistake.ko", &parameter)?;
    }

    let arguments = arguments(command_line);
    for (number, program) in (2..).zip(&programs) {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("testbed: {name}");
        writeln!(report, "    # Subtest: {name}")?;
        let mut failures = run_program(program, &arguments, &mut report)
            .unwrap_or_else(|error| vec![format!("{name}: {error}")]);
        failures.extend(warnings(&mut log, kmemleak.as_ref())?);
        conclude(&mut report, number, &name, failures)?;
    }

    let mut failures = as_failures(unload());
    failures.extend(warnings(&mut log, kmemleak.as_ref())?);
    failures.extend(lockdep::problem());
    conclude(&mut report, programs.len() + 2, "unload", failures)?;
    report.flush()
}

/// Checks that the driver refuses to load on a machine without ACRN.
pub fn refuse(command_line: &CommandLine) -> io::Result<()> {
    let mut report = OpenOptions::new().write(true).open(REPORT)?;
    writeln!(report, "KTAP version 1\n1..1")?;
    let mut log = KernelLog::open()?;
    // Warnings during the boot are not about the driver.
    log.warnings();
    let mut failures = match modules::try_insmod(&command_line.driver(), c"") {
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Vec::new(),
        other => vec![format!("{other:?}, not ENODEV")],
    };
    failures.extend(log.warnings());
    conclude(&mut report, 1, "refuse_off_acrn", failures)?;
    report.flush()
}

/// Returns kernel warnings since the last call.
fn warnings(log: &mut KernelLog, kmemleak: Option<&Kmemleak>) -> io::Result<Vec<String>> {
    let leaks = kmemleak.map(Kmemleak::leaks).transpose()?;
    // A scan that finds a leak also reports it in the log.
    let mut warnings = log.warnings();
    warnings.extend(leaks.into_iter().flatten());
    Ok(warnings)
}

/// Unloads the driver, which must not be in use any more.
fn unload() -> io::Result<()> {
    let users = modules::use_count("acrn")?;
    if users != 0 {
        return Err(io::Error::other(format!("acrn is in use {users} times")));
    }
    modules::rmmod("acrn")
}

fn as_failures(outcome: io::Result<()>) -> Vec<String> {
    outcome.err().iter().map(io::Error::to_string).collect()
}

fn conclude(report: &mut File, number: usize, name: &str, failures: Vec<String>) -> io::Result<()> {
    for failure in &failures {
        writeln!(report, "# {failure}")?;
    }
    let result = if failures.is_empty() { "ok" } else { "not ok" };
    writeln!(report, "{result} {number} {name}")
}

fn programs(only: Option<&str>) -> io::Result<Vec<PathBuf>> {
    let directory = Path::new("/selftests");
    if let Some(names) = only {
        return Ok(names.split(',').map(|name| directory.join(name)).collect());
    }
    let mut programs = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    programs.sort();
    Ok(programs)
}

/// Returns the arguments of each program: options, then names of tests.
fn arguments(command_line: &CommandLine) -> Vec<String> {
    let mut arguments = Vec::new();
    for name in ["seed", "seconds", "rounds"] {
        if let Some(value) = command_line.get(name) {
            arguments.extend([format!("--{name}"), value.to_owned()]);
        }
    }
    for (name, value, argument) in [
        ("order", "declared", "--declared-order"),
        ("patience", "little", "--impatient"),
    ] {
        if command_line.get(name) == Some(value) {
            arguments.push(argument.to_owned());
        }
    }
    let tests = command_line.get("tests").into_iter();
    arguments.extend(tests.flat_map(|tests| tests.split(',').map(str::to_owned)));
    arguments
}

/// Runs a program with its KTAP as a subtest. Returns failures other than failed tests.
fn run_program(program: &Path, arguments: &[String], report: &mut File) -> io::Result<Vec<String>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });

    let mut failures = Vec::new();
    loop {
        match Patience::new(SILENCE).receive(&lines) {
            Ok(line) => writeln!(report, "    {line}")?,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                failures.push(format!("silent for {} s, killed", SILENCE.as_secs()));
                child.kill()?;
                break;
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        failures.push(format!("{status}"));
    }
    Ok(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_seed_time_order_and_tests() {
        let line = CommandLine::new("testbed.seed=7 testbed.order=declared testbed.tests=a,b");
        let arguments_of_line = ["--seed", "7", "--declared-order", "a", "b"];
        assert_eq!(arguments(&line), arguments_of_line);
        let line = CommandLine::new("testbed.seconds=60 testbed.patience=little");
        assert_eq!(arguments(&line), ["--seconds", "60", "--impatient"]);
    }

    #[test]
    fn programs_run_in_the_order_in_which_they_are_named() {
        let programs = programs(Some("memory,io")).unwrap();
        assert_eq!(
            programs,
            ["/selftests/memory", "/selftests/io"].map(PathBuf::from)
        );
    }
}
