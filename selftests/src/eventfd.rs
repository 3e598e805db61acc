// SPDX-License-Identifier: GPL-2.0

//! eventfds.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use acrn_uapi::{acrn_ioeventfd, acrn_irqfd, acrn_msi_entry};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::eventfd::{EfdFlags, EventFd},
    unistd,
};

use crate::waiter::until;

/// A non-blocking eventfd.
pub struct Eventfd(EventFd);

impl Eventfd {
    /// Creates an eventfd with a counter of 0.
    pub fn new() -> Self {
        Self::with(EfdFlags::empty())
    }

    /// Creates an eventfd from which each read takes 1 (`EFD_SEMAPHORE`).
    pub fn semaphore() -> Self {
        Self::with(EfdFlags::EFD_SEMAPHORE)
    }

    fn with(flags: EfdFlags) -> Self {
        let flags = flags | EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Self(EventFd::from_flags(flags).expect("eventfd"))
    }

    /// Signals the eventfd once.
    pub fn signal(&self) {
        self.add(1).expect("write to an eventfd");
    }

    /// Adds to the counter. Fails with `EAGAIN` if the counter would overflow.
    pub fn add(&self, value: u64) -> Result<(), Errno> {
        self.0.write(value).map(drop)
    }

    /// Makes writes to a full counter and reads of an empty one block.
    pub fn block(&self) {
        fcntl(&self.0, FcntlArg::F_SETFL(OFlag::empty())).expect("F_SETFL");
    }

    /// Returns how often the eventfd was signalled since the last call.
    pub fn take(&self) -> u64 {
        match self.0.read() {
            Ok(count) => count,
            Err(Errno::EAGAIN) => 0,
            Err(error) => panic!("read of an eventfd: {error}"),
        }
    }

    /// Duplicates the descriptor.
    pub fn duplicate(&self) -> Self {
        let duplicate = self.0.as_fd().try_clone_to_owned().expect("dup");
        // SAFETY: It is a descriptor of an eventfd.
        Self(unsafe { EventFd::from_owned_fd(duplicate) })
    }

    /// Duplicates the descriptor for child processes too (no `O_CLOEXEC`).
    pub fn inheritable(&self) -> Self {
        let duplicate = unistd::dup(&self.0).expect("dup");
        // SAFETY: It is a descriptor of an eventfd.
        Self(unsafe { EventFd::from_owned_fd(duplicate) })
    }

    /// Duplicates the descriptor to the number of `old`, which is closed.
    pub fn duplicate_onto(&self, old: Self) -> Self {
        let mut number = old.0.into();
        unistd::dup2(&self.0, &mut number).expect("dup2");
        // SAFETY: It is a descriptor of an eventfd.
        Self(unsafe { EventFd::from_owned_fd(number) })
    }

    /// Returns the argument of IOEVENTFD for `len` bytes at `addr`.
    pub fn ioeventfd(&self, flags: u32, addr: u64, len: u32) -> acrn_ioeventfd {
        acrn_ioeventfd {
            // Descriptors are not negative.
            fd: self.as_raw_fd() as u32,
            flags,
            addr,
            len,
            ..Default::default()
        }
    }

    /// Returns the argument of IRQFD for an MSI.
    pub fn irqfd(&self, flags: u32, msi_addr: u64, msi_data: u64) -> acrn_irqfd {
        acrn_irqfd {
            fd: self.as_raw_fd(),
            flags,
            msi: acrn_msi_entry { msi_addr, msi_data },
        }
    }

    /// Returns the kernel's ID of the eventfd. The kernel reserves it until the last reference is
    /// gone, and assigns the lowest free number to a new eventfd.
    pub fn id(&self) -> u32 {
        let path = format!("/proc/self/fdinfo/{}", self.as_raw_fd());
        let text = fs::read_to_string(path).expect("fdinfo");
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("eventfd-id:"));
        id.and_then(|id| id.trim().parse().ok())
            .expect("the id of an eventfd")
    }
}

/// Calls `check` for each descriptor that is not open, or not of an eventfd, and the error that
/// IOEVENTFD and IRQFD return for it.
pub fn each_bad_descriptor(device: &impl AsFd, mut check: impl FnMut(RawFd, Errno)) {
    let other = File::open("/dev/null").expect("/dev/null");
    let (read_end, _write_end) = io::pipe().expect("a pipe");
    let closed = Eventfd::new().as_raw_fd();
    for fd in [closed, -1, RawFd::MAX, RawFd::MIN] {
        check(fd, Errno::EBADF);
    }
    for file in [other.as_fd(), read_end.as_fd(), device.as_fd()] {
        check(file.as_raw_fd(), Errno::EINVAL);
    }
}

/// Waits until there is no reference to the eventfds with the kernel's IDs `ids`: new eventfds get
/// these IDs then.
pub fn until_released(ids: &[u32]) {
    until("the eventfds are released", || {
        // There may be free IDs below.
        let fresh: Vec<_> = (0..ids.len() + 16).map(|_| Eventfd::new()).collect();
        let fresh: Vec<_> = fresh.iter().map(Eventfd::id).collect();
        ids.iter().all(|id| fresh.contains(id))
    });
}

impl Default for Eventfd {
    fn default() -> Self {
        Self::new()
    }
}

impl AsRawFd for Eventfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
