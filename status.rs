// SPDX-License-Identifier: GPL-2.0

//! What `/proc/PID/fdinfo/FD` and debugfs tell of a VM, one `key:<tab>value` a line.

use crate::{
    hypercall::VmId,
    ioreq::Counts,
    vm::Phase, //
};
use kernel::{
    fmt,
    prelude::*, //
};

/// A VM at one moment.
pub(crate) struct Status {
    pub(crate) vm: VmId,
    pub(crate) phase: Phase,
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
        let state = match self.phase {
            Phase::Created => "created",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Ended => "ended",
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
