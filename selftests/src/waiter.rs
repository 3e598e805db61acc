// SPDX-License-Identifier: GPL-2.0

//! A thread that sits in ATTACH_IOREQ_CLIENT.

use std::{
    fs,
    os::unix::thread::JoinHandleExt,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use acrn_uapi::ioctl::ACRN_IOCTL_ATTACH_IOREQ_CLIENT;
use nix::{
    errno::Errno,
    sys::{pthread::pthread_kill, signal::Signal},
    unistd::{Pid, gettid},
};

use crate::{cpus, device::Device, harness::patience};

/// After this a thread that waits is taken for one that never notices. It is not a measure of speed.
const PATIENCE: Duration = Duration::from_secs(40);

/// The thread.
pub struct Waiter(SleepingCommand<Result<(), Errno>>);

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
        let waiter = SleepingCommand::spawn(prepare, move || {
            device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT)
        });
        until("the waiter sleeps", || waiter.sleeps());
        Self(waiter)
    }

    /// Whether it still waits.
    pub fn waits(&self) -> bool {
        self.0.waits()
    }

    /// Sends the thread a signal.
    pub fn signal(&self, signal: Signal) {
        pthread_kill(self.0.thread.as_pthread_t(), signal).expect("pthread_kill");
    }

    /// What ATTACH_IOREQ_CLIENT returned; it must do so.
    pub fn result(self) -> Result<(), Errno> {
        self.0.result()
    }
}

/// A command on a thread of its own, which sleeps in it.
pub struct SleepingCommand<T> {
    thread: JoinHandle<T>,
    id: Pid,
}

impl<T: Send + 'static> SleepingCommand<T> {
    /// Starts `command`, and returns when it sleeps and has come as far as `arrived` says.
    pub fn start(
        mut arrived: impl FnMut() -> bool,
        command: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let asleep = Self::spawn(|| {}, command);
        until("the command sleeps", || arrived() && asleep.sleeps());
        asleep
    }

    /// Starts `command`, and returns when it sleeps, as it should, or has returned.
    pub fn start_or_finish(command: impl FnOnce() -> T + Send + 'static) -> Self {
        let asleep = Self::spawn(|| {}, command);
        until("the command sleeps or returns", || {
            asleep.sleeps() || !asleep.waits()
        });
        asleep
    }

    /// `prepare` is not taken for a part of the command: the thread may sleep in it.
    fn spawn(
        prepare: impl FnOnce() + Send + 'static,
        command: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let (sender, ids) = mpsc::channel();
        let thread = thread::spawn(move || {
            prepare();
            sender.send(gettid()).expect("the first thread");
            drop(sender);
            command()
        });
        let id = ids.recv().expect("the new thread");
        Self { thread, id }
    }

    /// Whether it sleeps at this moment.
    pub fn sleeps(&self) -> bool {
        sleeps(self.id) && self.waits()
    }

    /// Whether it waits in the driver at this moment.
    pub fn waits_in_driver(&self) -> bool {
        waits_in_driver(&format!("self/task/{}", self.id))
    }

    /// Whether it has not returned yet.
    pub fn waits(&self) -> bool {
        !self.thread.is_finished()
    }

    /// What the command returned; it must do so.
    pub fn result(self) -> T {
        until("the command returns", || !self.waits());
        self.thread.join().expect("the command")
    }
}

/// Whether a thread of this process sleeps.
pub fn sleeps(thread: Pid) -> bool {
    matches!(state(&format!("self/task/{thread}")), Some('S' | 'D'))
}

/// The state of a task, a letter as `ps` shows it; `task` is its folder below `/proc`.
pub fn state(task: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{task}/stat")).ok()?;
    // The name is in parentheses, the state comes next.
    stat.rsplit(") ").next()?.chars().next()
}

/// Whether a task sleeps in a command of the driver's; `task` is its folder below `/proc`.
pub fn waits_in_driver(task: &str) -> bool {
    let stack = fs::read_to_string(format!("/proc/{task}/stack"));
    matches!(state(task), Some('S' | 'D')) && stack.is_ok_and(|stack| stack.contains("[acrn]"))
}

/// Waits for something that must happen.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut patience = patience(PATIENCE);
    while !condition() {
        assert!(!patience.is_over(), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
