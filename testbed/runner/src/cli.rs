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
    /// Run a Linux User VM with its console on this terminal
    Demo {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        /// Keep the User VM running until `poweroff` is typed
        #[arg(long)]
        interactive: bool,
    },
    /// Run the selftests; the last line counts passed, failed and skipped tests
    Check {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        #[command(flatten)]
        chance: Chance,

        /// Compare the results with the record
        #[command(flatten)]
        recorded: Option<Recorded>,

        /// Compare with the record of our driver only, as there is none for this kernel
        #[arg(long)]
        other_kernel: bool,

        /// A mistake that this kernel reports, and which the check must notice; repeatable
        #[arg(long = "mistake", value_name = "NAME")]
        mistakes: Vec<Mistake>,

        /// The number of machines that run at the same time, if all programs run
        #[arg(long, value_name = "NUMBER", default_value = "2")]
        machines: usize,

        /// Run only these programs, PROGRAM,PROGRAM, or tests of one program, PROGRAM.TEST,TEST
        #[arg(long, value_name = "NAME")]
        only: Option<String>,

        /// Also count the results in this file: KTAP lines `ok NAME`, `not ok NAME`,
        /// `ok NAME # SKIP`
        #[arg(long, value_name = "FILE")]
        add_results: Vec<PathBuf>,
    },
    /// Record what both drivers do; fails if the record changes
    Compare {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        /// The limit of --silence for upstream's driver
        #[arg(long, value_name = "SECONDS", default_value = "140", value_parser = seconds)]
        upstream_silence: Duration,

        #[command(flatten)]
        chance: Chance,

        #[command(flatten)]
        recorded: Recorded,

        /// The number of machines that run at the same time
        #[arg(long, value_name = "NUMBER", default_value = "2")]
        machines: usize,

        /// Run only this program of the selftests
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Measure the cost of paths through both drivers; fails if a target is missed
    Bench {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        #[command(flatten)]
        options: bench::Options,
    },
    /// Apply slips to the driver, one at a time, and run the tests that should notice
    Mutants {
        #[command(flatten)]
        machine: Machine,

        #[command(flatten)]
        limits: Limits,

        #[command(flatten)]
        slips: Slips,

        /// Apply only these slips: AREA or AREA/NAME
        #[arg(long, value_name = "NAME")]
        only: Option<String>,

        /// The number of slips that are tested at the same time
        #[arg(long, value_name = "NUMBER", default_value = "1")]
        jobs: usize,

        /// Do not use the results of earlier runs
        #[arg(long)]
        fresh: bool,
    },
    /// Check that each slip has a header and applies
    Slips {
        #[command(flatten)]
        slips: Slips,
    },
}

/// The slips, and the driver to which they apply.
#[derive(Args, Clone)]
pub struct Slips {
    /// The directory of the slips: AREA/NAME.patch
    #[arg(long, value_name = "DIR")]
    pub slips: PathBuf,

    /// A directory that contains the driver's sources and nothing else
    #[arg(long, value_name = "DIR")]
    pub source: PathBuf,

    /// The make command that builds the driver, without the directories
    #[arg(last = true, value_name = "MAKE")]
    pub make: Vec<String>,
}

/// The record of the drivers. For `check` these options are optional, but belong together.
#[derive(Args, Clone)]
pub struct Recorded {
    /// The directory of the record: testbed/record
    #[arg(
        long,
        value_name = "DIR",
        required = false,
        requires_all = ["differences", "kernel_release"]
    )]
    pub record: PathBuf,

    /// The list of intended differences: Documentation/differences.csv
    #[arg(long, value_name = "FILE", required = false)]
    pub differences: PathBuf,

    /// The release of the kernel, which selects the record of upstream's driver
    #[arg(long, value_name = "RELEASE", required = false)]
    pub kernel_release: String,
}

/// The parts of the machine.
#[derive(Args, Clone)]
pub struct Machine {
    /// mini-ACRN, a 32-bit ELF file
    #[arg(long, value_name = "FILE")]
    pub hypervisor: PathBuf,

    /// The bzImage of the Service VM and of the User VM
    #[arg(long, value_name = "FILE")]
    pub kernel: PathBuf,

    /// PID 1 of both, a static program
    #[arg(long, value_name = "FILE")]
    pub init: PathBuf,

    /// The device model, a static program
    #[arg(long, value_name = "FILE")]
    pub vmm: PathBuf,

    /// The driver, acrn.ko
    #[arg(long, value_name = "FILE")]
    pub rust_driver: PathBuf,

    /// Upstream's driver, acrn.ko
    #[arg(long, value_name = "FILE")]
    pub c_driver: Option<PathBuf>,

    /// The driver to load
    #[arg(long, value_name = "DRIVER", default_value = "rust")]
    pub driver: Driver,

    /// A test-only module such as acrn_probe.ko; repeatable
    #[arg(long = "probe", value_name = "FILE")]
    pub probes: Vec<PathBuf>,

    /// A program of the selftests, static; repeatable
    #[arg(long = "selftest", value_name = "FILE")]
    pub selftests: Vec<PathBuf>,

    /// The directory for the initramfs and the logs
    #[arg(long, value_name = "DIR")]
    pub work: PathBuf,

    /// The QEMU to run
    #[arg(long, value_name = "PROGRAM", default_value = "qemu-system-x86_64")]
    pub qemu: String,

    /// More parameters for the Service VM's kernel
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub append: String,

    /// The clock of the machine
    #[arg(skip)]
    pub clock: Clock,
}

/// The clock of a machine.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// The host's time. The CPUs run in parallel.
    #[default]
    Host,
    /// The number of instructions: each takes a nanosecond. The CPUs run in turns.
    Instructions,
}

impl Machine {
    /// Returns the same machine with another driver, and with a work directory of its own.
    pub fn with(&self, driver: Driver) -> Self {
        Self {
            driver,
            work: self.work.join(driver.name()),
            ..self.clone()
        }
    }

    /// Returns the same machine with a clock that counts instructions.
    pub fn counting(self) -> Self {
        Self {
            clock: Clock::Instructions,
            ..self
        }
    }

    /// Returns the same machine with a work directory of its own, so that it can run beside others.
    pub fn numbered(&self, number: usize) -> Self {
        Self {
            work: self.work.join(number.to_string()),
            ..self.clone()
        }
    }

    /// Returns the names of the programs of the selftests.
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
    /// Returns the value of `testbed.driver`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
        }
    }
}

/// The time limits after which a run counts as hung.
#[derive(Args, Clone, Copy)]
pub struct Limits {
    /// The limit in seconds for the whole run
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds)]
    pub timeout: Duration,

    /// The limit in seconds without a line of the report or, before the first one, without output
    #[arg(long, value_name = "SECONDS", default_value = "240", value_parser = seconds)]
    pub silence: Duration,
}

/// The random choices of a run.
#[derive(Args, Clone, Copy)]
pub struct Chance {
    /// The seed for the order of programs and tests, and for random choices of tests; random by
    /// default
    #[arg(
        long,
        value_name = "N",
        default_value_t = fastrand::u32(..).into(),
        hide_default_value = true
    )]
    pub seed: u64,

    /// The time in seconds that tests without an end of their own take
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

impl Chance {
    /// Returns the kernel parameters for init.
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
