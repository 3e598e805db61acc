// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Complaints of the kernel, as /dev/kmsg has them.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    mem,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What makes a line of the kernel a complaint.
const COMPLAINTS: [&str; 17] = [
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
    "non-static key",
    "self-detected stall",
    "detected stalls",
    "blocked for more than",
    "Bad page state",
    "refcount_t:",
    "new suspected memory leaks",
];
/// How many lines after a complaint belong to it: its stack trace, for example.
const EXPLANATION: usize = 60;

/// The kernel's log, read all the time: it keeps the last lines only.
pub struct KernelLog(Arc<Mutex<Reader>>);

impl KernelLog {
    /// Opens the log at its beginning.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open("/dev/kmsg")?;
        let watched = file.try_clone()?;
        let reader = Arc::new(Mutex::new(Reader {
            file,
            complaints: Complaints::default(),
        }));
        let log = Self(reader.clone());
        thread::spawn(move || {
            loop {
                let mut log = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
                if poll(&mut log, PollTimeout::NONE).is_ok() {
                    lock(&reader).catch_up();
                }
            }
        });
        Ok(log)
    }

    /// The complaints that came since the last call, line by line.
    pub fn complaints(&mut self) -> Vec<String> {
        let mut reader = lock(&self.0);
        reader.catch_up();
        mem::take(&mut reader.complaints).lines
    }
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    file: File,
    complaints: Complaints,
}

impl Reader {
    fn catch_up(&mut self) {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => self.complaints.record(&record[..length]),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.complaints.lost();
                }
                Err(_) => break,
            }
        }
    }
}

#[derive(Default)]
struct Complaints {
    lines: Vec<String>,
    /// How many more lines explain the last one.
    to_come: usize,
}

impl Complaints {
    /// Takes a record, `PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE`.
    fn record(&mut self, record: &[u8]) {
        let text = String::from_utf8_lossy(record);
        let message = text
            .split_once(';')
            .and_then(|(_, text)| text.lines().next());
        let Some(message) = message else {
            return;
        };
        if COMPLAINTS.iter().any(|sign| message.contains(sign)) {
            self.to_come = EXPLANATION;
        } else if self.to_come > 0 {
            self.to_come -= 1;
        } else {
            return;
        }
        self.lines.push(message.to_owned());
    }

    /// Records were overwritten before they were read.
    fn lost(&mut self) {
        self.lines
            .push("lines of the kernel's log were lost".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::Complaints;

    fn lines(records: &[&[u8]]) -> Vec<String> {
        let mut complaints = Complaints::default();
        for record in records {
            complaints.record(record);
        }
        complaints.lines
    }

    #[test]
    fn warnings_are_complaints() {
        let record = b"4,12,3456,-;WARNING: mm/gup.c:1 at f+0x1/0x2, CPU#0: a/1\n DEVICE=x\n";
        assert_eq!(
            lines(&[record]),
            ["WARNING: mm/gup.c:1 at f+0x1/0x2, CPU#0: a/1"]
        );
        let harmless: [&[u8]; 2] = [b"6,1,2,-;acrn: loading out-of-tree module", b"rubbish"];
        assert!(lines(&harmless).is_empty());
    }

    #[test]
    fn what_follows_a_complaint_explains_it() {
        let lines = lines(&[
            b"6,1,1,-;acrn: loading out-of-tree module",
            b"3,2,2,-;BUG: KASAN: slab-use-after-free in f+0x1/0x2",
            b"3,3,3,-;Call Trace:",
        ]);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1], "Call Trace:");
    }
}
