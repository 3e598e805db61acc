// SPDX-License-Identifier: GPL-2.0

//! Tests of eventfds from which each read takes 1 (`EFD_SEMAPHORE`).

use acrn_selftests::{
    device::APIC,
    eventfd::Eventfd,
    harness::Outcome,
    hypercall::{INJECT_MSI, PAUSE_VM},
    mapping_fixture::MappingFixture,
    need,
    trace::Trace,
};
use acrn_uapi::ioctl::{ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM, ACRN_IOCTL_START_VM};

use crate::assign::{assign, injected};

/// Each write causes one interrupt, for any value of the counter. Without a write there is no
/// interrupt.
pub fn semaphore() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::semaphore();
    assign(&fixture.device, &event, 0x31).expect("IRQFD");
    let trace = Trace::start(&fixture.probe);
    for (written, count) in (1..).zip([1, 1, 7, 1, 1 << 32]) {
        event.add(count).expect("write to the eventfd");
        assert_eq!(trace.calls(INJECT_MSI).len(), written);
        // A read wakes pollers that wait for POLLOUT.
        event.take();
        assert_eq!(trace.calls(INJECT_MSI).len(), written, "after a read");
    }
    Outcome::Passed
}

/// Assigning an eventfd that was signalled several times before injects one interrupt at once.
pub fn semaphore_signalled_before() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::semaphore();
    event.add(5).expect("write to the eventfd");
    let trace = Trace::start(&fixture.probe);
    assign(&fixture.device, &event, 0x45).expect("IRQFD");
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x45)]);
    Outcome::Passed
}

/// An event that is left on the counter is no new one for a VM that starts or that the hypervisor
/// refuses to pause.
pub fn semaphore_is_not_signalled_by_commands() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let device = &fixture.device;
    let event = Eventfd::semaphore();
    assign(device, &event, 0x46).expect("IRQFD");
    let trace = Trace::start(&fixture.probe);
    event.add(5).expect("write to the eventfd");
    assert_eq!(trace.calls(INJECT_MSI).len(), 1);
    fixture.probe.refuse(PAUSE_VM, fixture.vmid);
    assert!(device.plain(ACRN_IOCTL_PAUSE_VM).is_err());
    for command in [
        ACRN_IOCTL_PAUSE_VM,
        ACRN_IOCTL_RESET_VM,
        ACRN_IOCTL_START_VM,
    ] {
        device.plain(command).expect("the command");
        assert_eq!(trace.calls(INJECT_MSI).len(), 1, "{command:#x}");
    }
    let left: u64 = (0..10).map(|_| event.take()).sum();
    assert_eq!(left, 4, "events left on the counter");
    Outcome::Passed
}
