// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bench;
use crate::mistakes::Mistake;

/// Runs the test-bed: QEMU, mini-ACRN, the Service VM, the driver, User VMs.
#[derive(Parser)]
#[command(name = "testbed-runner")]
pub struct Cli {
    #[command(subcommand)]
    pub job: Job,
}

#[derive(Subcommand)]
pub enum Job {
    /// A Linux User VM with its console on this terminal
    Demo {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        /// Keep the User VM up until a line `poweroff` is typed
        #[arg(long)]
        interactive: bool,
    },
    /// The selftests; the last line counts passed, failed and skipped tests
    Check {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        #[command(flatten)]
        chance: Chance,

        /// Compare with the record
        #[command(flatten)]
        recorded: Option<Recorded>,

        /// Compare with what is recorded of our driver only, as the kernel is another one
        #[arg(long)]
        other_kernel: bool,

        /// A mistake that this kernel complains of, which the check must see; may be given several times
        #[arg(long = "mistake", value_name = "NAME")]
        mistakes: Vec<Mistake>,

        /// How many machines run side by side, if all programs run
        #[arg(long, value_name = "NUMBER", default_value = "2")]
        machines: usize,

        /// Run these programs of the selftests only, PROGRAM,PROGRAM, or these tests of one: PROGRAM.TEST,TEST
        #[arg(long, value_name = "NAME")]
        only: Option<String>,

        /// Count the results in this file too: KTAP lines `ok NAME`, `not ok NAME`, `ok NAME # SKIP`
        #[arg(long, value_name = "FILE")]
        add_results: Vec<PathBuf>,
    },
    /// The selftests on upstream's driver: makes the record of both drivers anew, and fails if it changed
    Compare {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        /// The same as --silence on upstream's driver
        #[arg(long, value_name = "SECONDS", default_value = "140", value_parser = seconds)]
        upstream_silence: Duration,

        #[command(flatten)]
        chance: Chance,

        #[command(flatten)]
        recorded: Recorded,

        /// How many machines run side by side
        #[arg(long, value_name = "NUMBER", default_value = "2")]
        machines: usize,

        /// Run this program of the selftests only
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// What the paths through the driver cost, on both drivers; fails if a target is missed
    Bench {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        #[command(flatten)]
        options: bench::Options,
    },
    /// Slips in the driver, one at a time: which does a test see?
    Mutants {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        #[command(flatten)]
        slips: Slips,

        /// Only these slips: AREA or AREA/NAME
        #[arg(long, value_name = "NAME")]
        only: Option<String>,

        /// How many run side by side
        #[arg(long, value_name = "NUMBER", default_value = "1")]
        jobs: usize,

        /// Forget what earlier runs found out
        #[arg(long)]
        fresh: bool,
    },
    /// Whether all slips have a header, and apply
    Slips {
        #[command(flatten)]
        slips: Slips,
    },
}

/// The slips, and what they are slips of.
#[derive(Args, Clone)]
pub struct Slips {
    /// The folder with the slips: AREA/NAME.patch
    #[arg(long, value_name = "FOLDER")]
    pub slips: PathBuf,

    /// A folder with the driver's sources and nothing else
    #[arg(long, value_name = "FOLDER")]
    pub source: PathBuf,

    /// make, and what it needs to build the driver but the folders
    #[arg(last = true, value_name = "MAKE")]
    pub make: Vec<String>,
}

/// What the drivers do, by the record. All of it or nothing, which `check` can do without.
#[derive(Args, Clone)]
pub struct Recorded {
    /// The record: testbed/record
    #[arg(long, value_name = "FOLDER", required = false, requires_all = ["differences", "kernel_release"])]
    pub record: PathBuf,

    /// The differences that are meant to be: Documentation/differences.csv
    #[arg(long, value_name = "FILE", required = false)]
    pub differences: PathBuf,

    /// The release of the kernel, which says which record of upstream's driver it is
    #[arg(long, value_name = "RELEASE", required = false)]
    pub kernel_release: String,
}

/// What the machine is made of.
#[derive(Args, Clone)]
pub struct Machine {
    /// mini-ACRN, as a 32-bit ELF
    #[arg(long, value_name = "FILE")]
    pub hypervisor: PathBuf,

    /// Linux for the Service VM and the User VM, a bzImage
    #[arg(long, value_name = "FILE")]
    pub kernel: PathBuf,

    /// PID 1 of both, static
    #[arg(long, value_name = "FILE")]
    pub init: PathBuf,

    /// The device model, static
    #[arg(long, value_name = "FILE")]
    pub vmm: PathBuf,

    /// The driver, acrn.ko
    #[arg(long, value_name = "FILE")]
    pub rust_driver: PathBuf,

    /// Upstream's driver, acrn.ko
    #[arg(long, value_name = "FILE")]
    pub c_driver: Option<PathBuf>,

    /// Which of the two is loaded
    #[arg(long, value_name = "WHICH", default_value = "rust")]
    pub driver: Driver,

    /// A test-only module, such as acrn_probe.ko; may be given several times
    #[arg(long = "probe", value_name = "FILE")]
    pub probes: Vec<PathBuf>,

    /// A program of the selftests, static; may be given several times
    #[arg(long = "selftest", value_name = "FILE")]
    pub selftests: Vec<PathBuf>,

    /// Where initramfs and logs go
    #[arg(long, value_name = "FOLDER")]
    pub work: PathBuf,

    /// QEMU
    #[arg(long, value_name = "PROGRAM", default_value = "qemu-system-x86_64")]
    pub qemu: String,

    /// More for the Service VM's kernel command line
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub append: String,

    /// What its time follows
    #[arg(skip)]
    pub clock: Clock,
}

/// What the time of a machine follows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// The host's time; its CPUs run side by side.
    #[default]
    Host,
    /// The instructions that its CPUs execute, in turns: a nanosecond each.
    Instructions,
}

impl Machine {
    /// The same with another driver, and another place for what it leaves.
    pub fn with(&self, driver: Driver) -> Self {
        Self {
            driver,
            work: self.work.join(driver.name()),
            ..self.clone()
        }
    }

    /// The same with its time counted in instructions.
    pub fn counting(self) -> Self {
        Self {
            clock: Clock::Instructions,
            ..self
        }
    }

    /// The same with another place for what it leaves, so that it can run beside others.
    pub fn numbered(&self, number: usize) -> Self {
        Self {
            work: self.work.join(number.to_string()),
            ..self.clone()
        }
    }

    /// Names of the programs of the selftests.
    pub fn programs(&self) -> Vec<String> {
        let names = self.selftests.iter().filter_map(|path| path.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    Rust,
    C,
}

impl Driver {
    /// As `testbed.driver` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
        }
    }
}

/// When a run counts as hung.
#[derive(Args, Clone, Copy)]
pub struct Limits {
    /// Seconds for the whole run
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds)]
    pub timeout: Duration,

    /// Seconds without a line of the report, or while there is none without a byte of output
    #[arg(long, value_name = "SECONDS", default_value = "240", value_parser = seconds)]
    pub silence: Duration,
}

/// What is left to chance.
#[derive(Args, Clone, Copy)]
pub struct Chance {
    /// Gives the order of programs and tests, and what tests leave to chance; random without
    #[arg(long, value_name = "N", default_value_t = fastrand::u32(..).into(), hide_default_value = true)]
    pub seed: u64,

    /// How long tests go on that can go on for any time
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

impl Chance {
    /// For init.
    pub fn parameters(self) -> String {
        let mut parameters = format!(" testbed.seed={}", self.seed);
        if let Some(seconds) = self.seconds {
            parameters += &format!(" testbed.seconds={seconds}");
        }
        parameters
    }
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Cli, clap::Error> {
        let machine = ["hypervisor", "kernel", "init", "vmm", "rust-driver", "work"];
        let machine = machine.map(|name| format!("--{name}=x"));
        let words = ["testbed-runner", more[0]].map(str::to_owned).into_iter();
        let more = more[1..].iter().map(|word| (*word).to_owned());
        Cli::try_parse_from(words.chain(machine).chain(more))
    }

    #[test]
    fn check_compares_with_the_record_if_there_is_one() {
        let record = ["--record=r", "--differences=d", "--kernel-release=7"];
        let recorded = |more: &[&str]| match parse(more).ok()?.job {
            Job::Check { recorded, .. } => Some(recorded.is_some()),
            _ => None,
        };
        assert_eq!(recorded(&["check"]), Some(false));
        assert_eq!(recorded(&[&["check"], &record[..]].concat()), Some(true));
        assert_eq!(recorded(&["check", "--record=r"]), None);
        assert!(parse(&["compare"]).is_err());
        assert!(parse(&[&["compare"], &record[..]].concat()).is_ok());
    }
}
