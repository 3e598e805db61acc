// SPDX-License-Identifier: GPL-2.0

//! The state of a VM as `/proc/PID/fdinfo/FD` and debugfs show it: one `key:<tab>value` per line.

use crate::{
    hypercall::VmId,
    ioreq::Counts, //
};
use kernel::{
    fmt,
    prelude::*, //
};

/// The state of a VM as last commanded. The VM may have stopped by itself since.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum VmState {
    Created,
    Running,
    Paused,
    /// The hypervisor has destroyed it.
    Ended,
}

impl VmState {
    const ALL: [Self; 4] = [Self::Created, Self::Running, Self::Paused, Self::Ended];

    /// Returns the state with the given number, which is that of `as u32`.
    pub(crate) fn from_number(number: u32) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|state| *state as u32 == number)
            .unwrap_or(Self::Ended)
    }
}

/// A snapshot of a VM.
pub(crate) struct Status {
    pub(crate) vm: VmId,
    pub(crate) state: VmState,
    pub(crate) vcpus: u16,
    pub(crate) mapped_bytes: u64,
    pub(crate) parked_bytes: u64,
    pub(crate) has_client: bool,
    pub(crate) ioeventfds: usize,
    pub(crate) irqfds: usize,
    pub(crate) requests: Counts,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            VmState::Created => "created",
            VmState::Running => "running",
            VmState::Paused => "paused",
            VmState::Ended => "ended",
        };
        let clients = u8::from(self.has_client);
        let Counts {
            device_model,
            ioeventfd,
            pci_config,
            upcall,
            thread,
        } = self.requests;
        f.write_fmt(fmt!("vmid:\t{}\nstate:\t{}\n", self.vm, state))?;
        f.write_fmt(fmt!("vcpus:\t{}\n", self.vcpus))?;
        f.write_fmt(fmt!("mapped_bytes:\t{}\n", self.mapped_bytes))?;
        f.write_fmt(fmt!("parked_bytes:\t{}\n", self.parked_bytes))?;
        f.write_fmt(fmt!("clients:\t{}\n", clients))?;
        f.write_fmt(fmt!("ioeventfds:\t{}\n", self.ioeventfds))?;
        f.write_fmt(fmt!("irqfds:\t{}\n", self.irqfds))?;
        f.write_fmt(fmt!("requests_device_model:\t{}\n", device_model))?;
        f.write_fmt(fmt!("requests_ioeventfd:\t{}\n", ioeventfd))?;
        f.write_fmt(fmt!("requests_pci_config:\t{}\n", pci_config))?;
        f.write_fmt(fmt!("upcall_requests:\t{}\n", upcall.requests))?;
        f.write_fmt(fmt!("upcall_ns:\t{}\n", upcall.nanoseconds()))?;
        f.write_fmt(fmt!("thread_requests:\t{}\n", thread.requests))?;
        f.write_fmt(fmt!("thread_ns:\t{}\n", thread.nanoseconds()))
    }
}
