// SPDX-License-Identifier: GPL-2.0

//! Threads that sleep in a command of the driver, such as ATTACH_IOREQ_CLIENT.

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

/// Time after which a waiting thread is considered stuck. It does not measure speed.
const PATIENCE: Duration = Duration::from_secs(40);

/// The suffix of functions of the driver in a stack trace.
const DRIVER: &str = "[acrn]";

/// A thread in ATTACH_IOREQ_CLIENT.
pub struct Waiter(SleepingCommand<Result<(), Errno>>);

impl Waiter {
    /// Starts the thread and waits until it sleeps.
    pub fn start(device: &Arc<Device>) -> Self {
        Self::start_as(device, || {}, |_, waited| waited)
    }

    /// Starts a thread that runs on CPU `cpu` as soon as it is woken there, before the task that
    /// woke it.
    pub fn start_urgent(device: &Arc<Device>, cpu: usize) -> Self {
        Self::start_urgent_and_then(device, cpu, |_, waited| waited)
    }

    /// Starts a thread as [`Self::start_urgent`], which calls `next` with the result of the wait.
    /// The result of `next` is that of the thread.
    pub fn start_urgent_and_then(
        device: &Arc<Device>,
        cpu: usize,
        next: impl FnOnce(&Device, Result<(), Errno>) -> Result<(), Errno> + Send + 'static,
    ) -> Self {
        let prepare = move || {
            cpus::stay_on(cpu).expect("its CPU");
            cpus::come_first();
        };
        Self::start_as(device, prepare, next)
    }

    fn start_as(
        device: &Arc<Device>,
        prepare: impl FnOnce() + Send + 'static,
        next: impl FnOnce(&Device, Result<(), Errno>) -> Result<(), Errno> + Send + 'static,
    ) -> Self {
        let device = device.clone();
        let waiter = SleepingCommand::spawn(prepare, move || {
            next(&device, device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT))
        });
        until("the waiter sleeps", || waiter.sleeps());
        Self(waiter)
    }

    /// Returns whether the thread still waits.
    pub fn waits(&self) -> bool {
        self.0.waits()
    }

    /// Sends the thread a signal.
    pub fn signal(&self, signal: Signal) {
        pthread_kill(self.0.thread.as_pthread_t(), signal).expect("pthread_kill");
    }

    /// Returns the result of ATTACH_IOREQ_CLIENT. Panics if it does not return.
    pub fn result(self) -> Result<(), Errno> {
        self.0.result()
    }
}

/// A command on a thread of its own, in which the thread sleeps.
pub struct SleepingCommand<T> {
    thread: JoinHandle<T>,
    id: Pid,
}

impl<T: Send + 'static> SleepingCommand<T> {
    /// Starts `command`, and waits until it sleeps and `arrived` returns true.
    pub fn start(
        mut arrived: impl FnMut() -> bool,
        command: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let asleep = Self::spawn(|| {}, command);
        until("the command sleeps", || arrived() && asleep.sleeps());
        asleep
    }

    /// Starts `command`, and waits until it sleeps, as it should, or has returned.
    pub fn start_or_finish(command: impl FnOnce() -> T + Send + 'static) -> Self {
        let asleep = Self::spawn(|| {}, command);
        until("the command sleeps or returns", || {
            asleep.sleeps() || !asleep.waits()
        });
        asleep
    }

    /// Starts `command` after `prepare`, in which the thread may sleep as well.
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

    /// Returns whether the thread sleeps at this moment.
    pub fn sleeps(&self) -> bool {
        sleeps(self.id) && self.waits()
    }

    /// Returns whether the thread waits in the driver at this moment.
    pub fn waits_in_driver(&self) -> bool {
        waits_in_driver(&self.task())
    }

    /// Returns whether the thread waits at this moment in `function`, which the driver has called.
    pub fn waits_in(&self, function: &str) -> bool {
        waits(&self.task(), |stack| {
            stack.contains(DRIVER) && stack.contains(function)
        })
    }

    /// Returns whether the thread waits in the driver at this moment, but not for a page of
    /// [`UserfaultMemory`](crate::userfault::UserfaultMemory).
    pub fn has_its_page(&self) -> bool {
        waits(&self.task(), |stack| {
            stack.contains(DRIVER) && !stack.contains("handle_userfault")
        })
    }

    /// Returns the functions of the kernel in which the thread sleeps, the innermost one first.
    pub fn stack(&self) -> String {
        fs::read_to_string(format!("/proc/{}/stack", self.task())).unwrap_or_default()
    }

    fn task(&self) -> String {
        format!("self/task/{}", self.id)
    }

    /// Returns whether the command has not returned yet.
    pub fn waits(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Returns the result of the command. Panics if it does not return.
    pub fn result(self) -> T {
        until("the command returns", || !self.waits());
        self.thread.join().expect("the command")
    }
}

/// Returns whether a thread of this process sleeps.
pub fn sleeps(thread: Pid) -> bool {
    matches!(state(&format!("self/task/{thread}")), Some('S' | 'D'))
}

/// Returns the state of a task, as the letter that `ps` shows. `task` is its directory below
/// `/proc`.
pub fn state(task: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{task}/stat")).ok()?;
    // The state follows the name, which is in parentheses.
    stat.rsplit(") ").next()?.chars().next()
}

/// Returns whether a task sleeps in a command of the driver. `task` is its directory below `/proc`.
pub fn waits_in_driver(task: &str) -> bool {
    waits(task, |stack| stack.contains(DRIVER))
}

/// Returns whether a task sleeps, with a kernel stack as described.
fn waits(task: &str, is_right: impl FnOnce(&str) -> bool) -> bool {
    let stack = fs::read_to_string(format!("/proc/{task}/stack"));
    matches!(state(task), Some('S' | 'D')) && stack.is_ok_and(|stack| is_right(&stack))
}

/// Waits for an event that must happen. Panics if it does not.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut patience = patience(PATIENCE);
    while !condition() {
        assert!(!patience.is_over(), "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
