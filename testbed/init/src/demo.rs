// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The main job: a Linux User VM with a virtio disk and a virtio console, which is the terminal.
//! Its kernel writes to the serial port from the start of the boot.

use std::{io, path::Path, process::Command};

use testbed_disk_image as disk_image;

use crate::{command_line::CommandLine, modules};

const DISK: &str = "/tmp/disk";
/// Seed of the disk's contents.
const SEED: u64 = 2026;

/// Loads the driver, runs the User VM, and checks the data that it wrote to its disk. The runner
/// looks for the last line.
pub fn run(command_line: &CommandLine) -> io::Result<()> {
    let driver = command_line.driver();
    modules::insmod(&driver)?;
    let disk = Path::new(DISK);
    disk_image::create(disk, SEED)?;
    println!("testbed: Service VM: {driver} is loaded, starting the User VM");
    let guest = command_line.get("guest").unwrap_or("poweroff");
    let status = Command::new("/bin/acrn-vmm")
        .args(["--kernel", "/guest/bzImage"])
        .args(["--initramfs", "/guest/initramfs.cpio"])
        .args(["--console", "virtio", "--disk", DISK])
        .arg("--cmdline")
        .arg(format!(
            "console=ttyS0 testbed.console=hvc0 testbed.job=guest testbed.guest={guest}"
        ))
        .status()?;
    disk_image::verify(disk, SEED)
        .map_err(|error| io::Error::other(format!("the User VM's disk: {error}")))?;
    println!(
        "testbed: the User VM has read and written its disk correctly, {} bytes each",
        disk_image::FILE_SIZE
    );
    modules::rmmod("acrn")?;
    println!("testbed: acrn-vmm: {status}; the driver is unloaded");
    Ok(())
}
