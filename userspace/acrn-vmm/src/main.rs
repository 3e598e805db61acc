// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A small device model for ACRN: runs a User VM through the HSM driver.

mod acpi;
mod boot;
mod cli;
mod console;
mod cpus;
mod devices;
mod error;
mod ioreq;
mod machine;
mod memory;
mod peripherals;
mod supervisor;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use cli::Args;
use error::{Context, Result};
use machine::Ending;
use terminal::RawMode;

fn run(args: &Args) -> Result<Ending> {
    let _raw_mode = RawMode::enter().context(|| "setting up the terminal")?;
    machine::run(args)
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(Ending::PowerOff) => eprintln!("acrn-vmm: the guest powered off"),
        Ok(Ending::NoReboot) => eprintln!("acrn-vmm: the guest reset, and is not started again"),
        Ok(Ending::Stopped) => eprintln!("acrn-vmm: stopped"),
        Err(error) => {
            eprintln!("acrn-vmm: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
