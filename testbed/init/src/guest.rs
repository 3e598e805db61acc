// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The role in a Linux User VM: say that it is up, use the disks, and power off.

use std::{fs, io, thread};

use crate::{command_line::CommandLine, disk, modules};

/// How a User VM ends.
pub enum End {
    PowerOff,
    Reboot,
}

/// `testbed.guest=stay` leaves out the power-off; `testbed.guest=interactive` repeats what is typed until
/// a line `poweroff` or `reboot`.
pub fn run(command_line: &CommandLine) -> io::Result<End> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default();
    println!(
        "User VM: Linux {} is up, {cpus} CPU, {memory}",
        release.trim()
    );

    // A User VM may not manage others.
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
