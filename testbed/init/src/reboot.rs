// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The Service VM goes down while User VMs live: one that the hypervisor will not destroy, one that runs, one that is
//! paused, one that is just being made; and one that no driver knows any more. The runner looks at what the driver
//! made of them.

use std::{
    io::{self, BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::{command_line::CommandLine, modules};

/// The device models: programs and their helpers. One that cannot be ended must not keep those behind it.
const DEVICE_MODELS: [(&str, &str); 5] = [
    ("lifecycle", "orphan_outlives_module"),
    ("device_model", "stubborn_victim"),
    ("device_model", "victim"),
    ("device_model", "paused_victim"),
    ("lifecycle", "late_creators"),
];

/// Starts the device models, and returns while they serve.
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
