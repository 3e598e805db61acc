// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The role in a Linux User VM: say that it is up, and power off.

use std::{fs, io, thread};

use crate::{command_line::CommandLine, modules};

/// `testbed.guest=stay` leaves out the power-off; `testbed.guest=interactive` repeats what is typed until
/// a line `poweroff`.
pub fn run(command_line: &CommandLine) -> io::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default();
    println!(
        "User VM: Linux {} is up, {cpus} CPU, {memory}",
        release.trim()
    );

    // A User VM may not manage others.
    match modules::try_insmod("/modules/acrn.ko") {
        Err(error) => println!("User VM: insmod acrn.ko: {error}"),
        Ok(()) => println!("User VM: insmod acrn.ko: loaded"),
    }

    match command_line.get("guest") {
        Some("stay") => loop {
            thread::park();
        },
        Some("interactive") => {
            println!("User VM: type something; 'poweroff' ends it");
            for line in io::stdin().lines() {
                match line?.trim() {
                    "poweroff" => break,
                    text => println!("User VM: {text}"),
                }
            }
        }
        _ => {}
    }
    println!("User VM: powering off");
    Ok(())
}
