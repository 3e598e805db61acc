// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A User VM's disks: reads the host's file, and writes an answer to writable disks.

use std::{fs, io, path::Path};

use nix::mount::{MsFlags, mount, umount};
use testbed_disk_image::{HOST_FILE, write_answer};

const DIRECTORY: &str = "/disk";

/// Handles all disks.
pub fn answer_all() -> io::Result<()> {
    for letter in 'a'..='z' {
        let name = format!("vd{letter}");
        if !Path::new("/dev").join(&name).exists() {
            break;
        }
        let said =
            answer(&name).map_err(|error| io::Error::other(format!("/dev/{name}: {error}")))?;
        println!("User VM: /dev/{name}: {said}");
    }
    Ok(())
}

fn answer(name: &str) -> io::Result<String> {
    let read_only = fs::read_to_string(format!("/sys/block/{name}/ro"))?.trim() == "1";
    let serial = fs::read_to_string(format!("/sys/block/{name}/serial"))?;
    let flags = if read_only {
        MsFlags::MS_RDONLY
    } else {
        MsFlags::empty()
    };
    fs::create_dir_all(DIRECTORY)?;
    let device = format!("/dev/{name}");
    mount(
        Some(device.as_str()),
        DIRECTORY,
        Some("vfat"),
        flags,
        None::<&str>,
    )?;
    let directory = Path::new(DIRECTORY);
    let done = if read_only {
        let read = fs::read(directory.join(HOST_FILE)).map(|bytes| bytes.len());
        read.map(|bytes| format!("{bytes} bytes read, it is read-only"))
    } else {
        write_answer(directory).map(|bytes| format!("{bytes} bytes read and written"))
    };
    umount(DIRECTORY)?;
    Ok(format!("'{}', {}", serial.trim(), done?))
}
