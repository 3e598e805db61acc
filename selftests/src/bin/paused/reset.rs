// SPDX-License-Identifier: GPL-2.0

//! Tests of a RESET_VM that fails although the hypervisor resets the VM, which can happen on ACRN.

use acrn_selftests::{
    counting_guest::{AT, CountingGuest},
    device::APIC,
    eventfd::Eventfd,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::{INJECT_MSI, RESET_VM},
    need,
    probe::fault,
    program::greet_and_count,
    trace::Trace,
};
use acrn_uapi::ioctl::ACRN_IOCTL_RESET_VM;
use mini_acrn_channel::Fault;
use nix::errno::Errno;

/// The VM can be started afterwards. Its requests are completed, and its interrupts are injected.
pub fn failed_late() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(PAGE)));
    let event = Eventfd::new();
    counter.device.irqfd(&event, 0, APIC, 0x31).expect("IRQFD");
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.probe.push_fault(Fault {
        after: 1,
        ..fault(RESET_VM, -110)
    });
    let reset = counter.device.plain(ACRN_IOCTL_RESET_VM);
    assert_eq!(reset, Err(Errno::ETIMEDOUT));

    counter.guest.load_long_mode(&greet_and_count(AT));
    // The guest goes on only if its first request is completed.
    counter.start();
    let trace = Trace::start(&counter.probe);
    counter.device.inject_msi(APIC, 0x31).expect("INJECT_MSI");
    event.signal();
    assert_eq!(trace.calls(INJECT_MSI).len(), 2, "INJECT_MSI");
    Outcome::Passed
}
