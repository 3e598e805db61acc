// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The job in a Linux User VM: report that it runs, use the disks, and power off.

use std::{fs, io, thread};

use crate::{command_line::CommandLine, disk, modules};

/// The end of a User VM.
pub enum End {
    PowerOff,
    Reboot,
}

/// Runs the job. `testbed.guest=stay` leaves out the power-off. `testbed.guest=interactive` repeats
/// typed lines until `poweroff` or `reboot`.
pub fn run(command_line: &CommandLine) -> io::Result<End> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default();
    println!(
        "User VM: Linux {} is up, {cpus} CPU, {memory}",
        release.trim()
    );

    // The driver must refuse to load in a User VM.
    match modules::try_insmod("/modules/acrn.ko", c"") {
        Err(error) => println!("User VM: insmod acrn.ko: {error}"),
        Ok(()) => println!("User VM: insmod acrn.ko: loaded"),
    }
    disk::answer_all()?;

    let end = match command_line.get("guest") {
        Some("stay") => loop {
            thread::park();
        },
        Some("interactive") => {
            println!("User VM: type something; 'poweroff' ends it, 'reboot' starts it again");
            repeat()?
        }
        _ => End::PowerOff,
    };
    match end {
        End::PowerOff => println!("User VM: powering off"),
        End::Reboot => println!("User VM: rebooting"),
    }
    Ok(end)
}

fn repeat() -> io::Result<End> {
    for line in io::stdin().lines() {
        match line?.trim() {
            "poweroff" => break,
            "reboot" => return Ok(End::Reboot),
            text => println!("User VM: {text}"),
        }
    }
    Ok(End::PowerOff)
}
