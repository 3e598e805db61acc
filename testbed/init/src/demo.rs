// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The main job: a Linux User VM on the console.

use std::{io, process::Command};

use crate::{command_line::CommandLine, modules};

/// Loads the driver and runs the User VM. The runner looks for the last line.
pub fn run(command_line: &CommandLine) -> io::Result<()> {
    let driver = command_line.driver();
    modules::insmod(&driver)?;
    println!("testbed: Service VM: {driver} is loaded, starting the User VM");
    let guest = command_line.get("guest").unwrap_or("poweroff");
    let status = Command::new("/bin/acrn-vmm")
        .args(["--kernel", "/guest/bzImage"])
        .args(["--initramfs", "/guest/initramfs.cpio"])
        .arg("--cmdline")
        .arg(format!(
            "console=ttyS0 no_timer_check testbed.job=guest testbed.guest={guest}"
        ))
        .status()?;
    modules::rmmod("acrn")?;
    println!("testbed: acrn-vmm: {status}; the driver is unloaded");
    Ok(())
}
