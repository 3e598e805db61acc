// SPDX-License-Identifier: GPL-2.0

//! eventfds.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::eventfd::{EfdFlags, EventFd},
    unistd,
};

use crate::waiter::until;

/// An eventfd that nobody blocks on.
pub struct Eventfd(EventFd);

impl Eventfd {
    /// A new one, with nothing in it.
    pub fn new() -> Self {
        Self::with(EfdFlags::empty())
    }

    /// A new one from which each read takes one.
    pub fn semaphore() -> Self {
        Self::with(EfdFlags::EFD_SEMAPHORE)
    }

    fn with(flags: EfdFlags) -> Self {
        let flags = flags | EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Self(EventFd::from_flags(flags).expect("eventfd"))
    }

    /// Signals it once.
    pub fn signal(&self) {
        self.add(1).expect("write to an eventfd");
    }

    /// Adds to the counter; `EAGAIN` if that is too full.
    pub fn add(&self, value: u64) -> Result<(), Errno> {
        self.0.write(value).map(drop)
    }

    /// From now on who writes to a full counter, or reads an empty one, waits.
    pub fn block(&self) {
        fcntl(&self.0, FcntlArg::F_SETFL(OFlag::empty())).expect("F_SETFL");
    }

    /// How often it was signalled since the last time.
    pub fn take(&self) -> u64 {
        match self.0.read() {
            Ok(count) => count,
            Err(Errno::EAGAIN) => 0,
            Err(error) => panic!("read of an eventfd: {error}"),
        }
    }

    /// Another descriptor of it.
    pub fn duplicate(&self) -> Self {
        let duplicate = self.0.as_fd().try_clone_to_owned().expect("dup");
        // SAFETY: a descriptor of an eventfd.
        Self(unsafe { EventFd::from_owned_fd(duplicate) })
    }

    /// Another descriptor, which the processes that we start have as well.
    pub fn inheritable(&self) -> Self {
        let duplicate = unistd::dup(&self.0).expect("dup");
        // SAFETY: a descriptor of an eventfd.
        Self(unsafe { EventFd::from_owned_fd(duplicate) })
    }

    /// Another descriptor with the number of `old`, which is closed.
    pub fn duplicate_onto(&self, old: Self) -> Self {
        let mut number = old.0.into();
        unistd::dup2(&self.0, &mut number).expect("dup2");
        // SAFETY: a descriptor of an eventfd.
        Self(unsafe { EventFd::from_owned_fd(number) })
    }

    /// What the kernel calls it, for as long as anybody has a reference to it: the lowest number that was free.
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

/// Waits until nobody has a reference to the eventfds that the kernel called `ids`: then new ones get these.
pub fn until_released(ids: &[u32]) {
    until("the eventfds are released", || {
        // There may be gaps below.
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
