// SPDX-License-Identifier: GPL-2.0

//! Commands whose hypercall waits in mini-ACRN while other threads act.

use std::thread::{self, JoinHandle};

use crate::{probe::Probe, waiter::until};

/// A command on a thread of its own, whose hypercall mini-ACRN has not carried out yet.
pub struct HeldHypercall<'a, T> {
    probe: &'a Probe,
    thread: Option<JoinHandle<T>>,
}

impl<'a, T: Send + 'static> HeldHypercall<'a, T> {
    /// Starts `command` and holds its hypercall `id` for the VM `vmid`.
    pub fn start(
        probe: &'a Probe,
        id: u32,
        vmid: u16,
        command: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        Self::start_after(0, probe, id, vmid, command)
    }

    /// Starts `command` and holds the hypercall after the first `skip` hypercalls `id` for the VM
    /// `vmid`.
    pub fn start_after(
        skip: u32,
        probe: &'a Probe,
        id: u32,
        vmid: u16,
        command: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        probe.hold_after(skip, id, vmid);
        let held = Self {
            probe,
            thread: Some(thread::spawn(command)),
        };
        until("the hypercall is held", || probe.is_held());
        held
    }

    /// Lets mini-ACRN carry out the hypercall. Returns the result of the command.
    pub fn release(mut self) -> T {
        self.probe.release();
        let thread = self.thread.take().expect("a thread");
        until("the command returns", || thread.is_finished());
        thread.join().expect("the held command")
    }
}

impl<T> Drop for HeldHypercall<'_, T> {
    /// Releases the hypercall if the test fails.
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.probe.release();
        }
    }
}
