// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! kernel warnings, from /dev/kmsg.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    mem,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use testbed_watch::Warnings;

/// The kernel's log. It is read all the time, because the kernel only keeps the last lines.
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
            warnings: Warnings::default(),
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

    /// Returns the warnings since the last call, line by line.
    pub fn warnings(&mut self) -> Vec<String> {
        let mut reader = lock(&self.0);
        reader.catch_up();
        mem::take(&mut reader.warnings).lines
    }
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    file: File,
    warnings: Warnings,
}

impl Reader {
    fn catch_up(&mut self) {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => self.warnings.record(&record[..length]),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.warnings.lost();
                }
                Err(_) => break,
            }
        }
    }
}
