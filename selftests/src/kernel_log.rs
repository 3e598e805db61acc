// SPDX-License-Identifier: GPL-2.0

//! The kernel's log.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

/// The log from now on.
pub struct KernelLog(File);

impl KernelLog {
    /// Begins here. The error says why the test has to be skipped.
    pub fn start() -> Result<Self, String> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .map_err(|error| format!("/dev/kmsg: {error}"))?;
        file.seek(SeekFrom::End(0))
            .map_err(|error| format!("/dev/kmsg: {error}"))?;
        Ok(Self(file))
    }

    /// What the driver wrote. Both drivers' lines have their name in them.
    pub fn lines(&mut self) -> Vec<String> {
        let mut record = [0; 8192];
        let mut lines = Vec::new();
        loop {
            match self.0.read(&mut record) {
                Ok(len) => {
                    let text = String::from_utf8_lossy(&record[..len]);
                    let message = text.split_once(';').map_or("", |(_, rest)| rest);
                    let line = message.lines().next().unwrap_or("");
                    if line.contains("acrn") {
                        lines.push(line.to_owned());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return lines,
                // Records were overwritten before they were read: a flood.
                Err(error) => panic!("/dev/kmsg: {error}"),
            }
        }
    }
}
