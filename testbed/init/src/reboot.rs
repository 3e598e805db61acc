// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The Service VM goes down while User VMs live: one that runs, one that is paused, and one that the hypervisor
//! will not destroy. The runner looks at what the driver made of them.

use std::{
    io::{self, BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::{command_line::CommandLine, modules};

/// The program whose helpers are the device models.
const PROGRAM: &str = "/selftests/device_model";
const DEVICE_MODELS: [&str; 3] = ["victim", "paused_victim", "stubborn_victim"];

/// Starts the device models, and returns while they serve.
pub fn run(command_line: &CommandLine) -> io::Result<()> {
    modules::insmod("/modules/acrn_probe.ko")?;
    modules::insmod(&command_line.driver())?;
    for name in DEVICE_MODELS {
        let mut child = Command::new(PROGRAM)
            .args(["--single", name])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut word = String::new();
        BufReader::new(output).read_line(&mut word)?;
        if word != "ready\n" {
            return Err(io::Error::other(format!("{name}: {word}")));
        }
    }
    // The runner looks for this line.
    println!(
        "testbed: the Service VM reboots with {} User VMs",
        DEVICE_MODELS.len()
    );
    Ok(())
}
