// SPDX-License-Identifier: GPL-2.0

//! A thread that sits in ATTACH_IOREQ_CLIENT.

use std::{
    fs,
    os::unix::thread::JoinHandleExt,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use acrn_uapi::ioctl::ACRN_IOCTL_ATTACH_IOREQ_CLIENT;
use nix::{
    errno::Errno,
    sys::{pthread::pthread_kill, signal::Signal},
    unistd::{Pid, gettid},
};

use crate::{cpus, device::Device};

/// After this a thread that waits is taken for one that never notices. It is not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(40);

/// The thread.
pub struct Waiter {
    thread: JoinHandle<Result<(), Errno>>,
}

impl Waiter {
    /// Starts it, and returns when it sleeps.
    pub fn start(device: &Arc<Device>) -> Self {
        Self::start_as(device, || {})
    }

    /// The same of a thread that, once it is woken on CPU `cpu`, runs before the task that woke it there goes on.
    pub fn start_urgent(device: &Arc<Device>, cpu: usize) -> Self {
        Self::start_as(device, move || {
            cpus::stay_on(cpu).expect("its CPU");
            cpus::come_first();
        })
    }

    fn start_as(device: &Arc<Device>, prepare: impl FnOnce() + Send + 'static) -> Self {
        let device = device.clone();
        let (sender, ids) = mpsc::channel();
        let thread = thread::spawn(move || {
            prepare();
            sender.send(gettid()).expect("somebody wants to know");
            drop(sender);
            device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT)
        });
        let id = ids.recv().expect("the waiter");
        let waiter = Self { thread };
        until("the waiter sleeps", || {
            sleeps(id) && !waiter.thread.is_finished()
        });
        waiter
    }

    /// Whether it still waits.
    pub fn waits(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Sends the thread a signal.
    pub fn signal(&self, signal: Signal) {
        pthread_kill(self.thread.as_pthread_t(), signal).expect("pthread_kill");
    }

    /// What ATTACH_IOREQ_CLIENT returned; it must do so.
    pub fn result(self) -> Result<(), Errno> {
        until("ATTACH_IOREQ_CLIENT returns", || self.thread.is_finished());
        self.thread.join().expect("the waiter")
    }
}

/// A command on a thread of its own, which sleeps in it.
pub struct Asleep<T>(JoinHandle<T>);

impl<T: Send + 'static> Asleep<T> {
    /// Starts `command`, and returns when it sleeps and has come as far as `arrived` says.
    pub fn start(
        mut arrived: impl FnMut() -> bool,
        command: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let (sender, ids) = mpsc::channel();
        let thread = thread::spawn(move || {
            sender.send(gettid()).expect("somebody wants to know");
            drop(sender);
            command()
        });
        let id = ids.recv().expect("the thread");
        until("the command sleeps", || {
            arrived() && sleeps(id) && !thread.is_finished()
        });
        Self(thread)
    }

    /// What the command returned; it must do so soon.
    pub fn result(self) -> T {
        until("the command returns", || self.0.is_finished());
        self.0.join().expect("the command")
    }
}

/// Whether a thread of this process sleeps.
pub fn sleeps(thread: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
    // The name is in parentheses, the state comes next.
    stat.is_ok_and(|stat| {
        let rest = stat.rsplit(") ").next();
        rest.is_some_and(|rest| rest.starts_with(['S', 'D']))
    })
}

/// Waits for something that must happen.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
