// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Complaints of the kernel, as /dev/kmsg has them.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
};

/// What makes a line of the kernel a complaint.
const COMPLAINTS: [&str; 12] = [
    "WARNING:",
    "BUG:",
    "BUG ",
    "Oops",
    "kernel BUG",
    "general protection fault",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "blocked for more than",
    "Bad page state",
];

/// A place in the kernel's log.
pub struct KernelLog(File);

impl KernelLog {
    /// Opens the log at its beginning.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open("/dev/kmsg")?;
        Ok(Self(file))
    }

    /// The complaints that came since the last call.
    pub fn complaints(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => break,
                Ok(length) => found.extend(complaint(&record[..length])),
                // Records were overwritten before they were read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(_) => break,
            }
        }
        found
    }
}

/// The message of a record, if it is a complaint. A record is `PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE`.
fn complaint(record: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(record);
    let message = text.split_once(';')?.1.lines().next()?;
    COMPLAINTS
        .iter()
        .any(|sign| message.contains(sign))
        .then(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn warnings_are_complaints() {
        let record = b"4,12,3456,-;WARNING: mm/gup.c:1 at f+0x1/0x2, CPU#0: a/1\n DEVICE=x\n";
        assert!(complaint(record).unwrap().starts_with("WARNING: mm/gup.c"));
        assert_eq!(complaint(b"6,1,2,-;acrn: loading out-of-tree module"), None);
        assert_eq!(complaint(b"rubbish"), None);
    }
}
