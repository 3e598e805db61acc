// SPDX-License-Identifier: GPL-2.0

//! The kernel's log.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};

/// The bits of the level in a priority, and the level of debug messages.
const LEVEL: u32 = 7;
const DEBUG: u32 = 7;

/// A line of the log.
#[derive(Debug)]
pub struct Line {
    /// Time of the kernel's clock at which it was written.
    pub time: Duration,
    /// The text of the message.
    pub text: String,
}

impl Line {
    /// Parses a record, which is `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT` and optional further
    /// lines. Debug messages are left out, because only kernels with debug assertions have them.
    fn parse(record: &str) -> Option<Self> {
        let (head, rest) = record.split_once(';')?;
        let mut fields = head.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let micros = fields.nth(1)?.parse().ok()?;
        (priority & LEVEL != DEBUG).then_some(Self {
            time: Duration::from_micros(micros),
            text: rest.lines().next()?.to_owned(),
        })
    }
}

/// Messages of the kernel from a moment on.
pub struct KernelLog(File);

impl KernelLog {
    /// Starts with the next message. The error says why the test must be skipped.
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

    /// Returns the lines of the driver.
    pub fn lines(&mut self) -> Vec<String> {
        let lines = self.stamped_lines().into_iter();
        lines.map(|line| line.text).collect()
    }

    /// Returns the lines of the driver with their times. The lines of both drivers contain the
    /// driver's name.
    pub fn stamped_lines(&mut self) -> Vec<Line> {
        let mut record = [0; 8192];
        let mut lines = Vec::new();
        loop {
            match self.0.read(&mut record) {
                Ok(len) => {
                    let line = Line::parse(&String::from_utf8_lossy(&record[..len]));
                    lines.extend(line.filter(|line| line.text.contains("acrn")));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return lines,
                // Records were overwritten before they were read, so there was a flood of messages.
                Err(error) => panic!("/dev/kmsg: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn records_are_read() {
        let line = Line::parse("3,12,3456000,-;acrn: VM 1: no client\n DEVICE=x\n").unwrap();
        assert_eq!(line.time.as_millis(), 3456);
        assert_eq!(line.text, "acrn: VM 1: no client");
        assert!(Line::parse("rubbish").is_none());
        assert!(Line::parse("7,13,3456001,-;acrn: no VM is made").is_none());
    }
}
