// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The Service VM goes down while there are User VMs: one that the hypervisor refuses to destroy,
//! one that runs, one that is paused, one that is started again meanwhile, one whose creation is in
//! progress, and one that the driver does not know any more. The runner checks how the driver
//! handled them.

use std::{
    io::{self, BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::{command_line::CommandLine, modules};

/// The device models: programs and their helpers. A VM that cannot be destroyed must not keep the
/// driver from destroying the others.
const DEVICE_MODELS: [(&str, &str); 6] = [
    ("lifecycle", "orphan_outlives_module"),
    ("device_model", "stubborn_victim"),
    ("device_model", "victim"),
    ("device_model", "paused_victim"),
    ("lifecycle", "late_starter"),
    ("lifecycle", "late_creators"),
];

/// Starts the device models, and returns while they run.
pub fn run(command_line: &CommandLine) -> io::Result<()> {
    modules::insmod("/modules/acrn_probe.ko")?;
    modules::insmod(&command_line.driver())?;
    for (program, name) in DEVICE_MODELS {
        let mut child = Command::new(format!("/selftests/{program}"))
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
    println!("testbed: the Service VM reboots with User VMs");
    Ok(())
}
