// SPDX-License-Identifier: GPL-2.0

//! Makes IRQFD requests, and reads the resulting hypercalls.

use std::os::fd::AsRawFd;

use acrn_selftests::{
    device::{APIC, Device},
    eventfd::Eventfd,
    hypercall::INJECT_MSI,
    trace::{Trace, parameter},
};
use acrn_uapi::{ioctl::ACRN_IOCTL_IRQFD, *};
use nix::errno::Errno;

/// Returns the argument that assigns an MSI to an eventfd.
pub fn argument(event: &impl AsRawFd, msi_addr: u64, msi_data: u64) -> acrn_irqfd {
    acrn_irqfd {
        fd: event.as_raw_fd(),
        flags: 0,
        msi: acrn_msi_entry { msi_addr, msi_data },
    }
}

/// Makes IRQFD.
pub fn irqfd(device: &Device, mut argument: acrn_irqfd) -> Result<(), Errno> {
    device.with(ACRN_IOCTL_IRQFD, &mut argument)
}

/// Makes IRQFD to assign vector `vector` of vCPU 0 to an eventfd.
pub fn assign(device: &Device, event: &Eventfd, vector: u8) -> Result<(), Errno> {
    irqfd(device, argument(event, APIC, vector.into()))
}

/// Makes IRQFD to deassign an eventfd.
pub fn deassign(device: &Device, event: &Eventfd) -> Result<(), Errno> {
    let mut argument = argument(event, 0, 0);
    argument.flags = ACRN_IRQFD_FLAG_DEASSIGN;
    irqfd(device, argument)
}

/// Creates an eventfd and assigns vector `vector` of vCPU 0 to it.
pub fn assigned(device: &Device, vector: u8) -> Eventfd {
    let event = Eventfd::new();
    assign(device, &event, vector).expect("IRQFD");
    event
}

/// Returns the VM, address and data of each MSI in the hypercalls of `trace`.
pub fn injected(trace: &Trace<'_>) -> Vec<(u64, u64, u64)> {
    let calls = trace.calls(INJECT_MSI);
    let messages = calls.iter().map(|record| {
        let msi: acrn_msi_entry = parameter(record);
        (record.p1, msi.msi_addr, msi.msi_data)
    });
    messages.collect()
}
