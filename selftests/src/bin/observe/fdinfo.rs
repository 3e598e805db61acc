// SPDX-License-Identifier: GPL-2.0

//! Tests of `/proc/PID/fdinfo/FD` of the device. Upstream's driver adds no lines to it.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::{APIC, Device},
    eventfd::Eventfd,
    guest::Guest,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::{DESTROY_VM, PAUSE_VM, RESET_VM, START_VM},
    mapping_fixture::{GUEST, MappingFixture, ram, whole},
    need,
    probe::{Probe, fault},
    program::{self, read, write},
    status::Status,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

/// The state of a file without a VM is `empty`, before it has a VM and afterwards.
pub fn fdinfo_empty_file() -> Outcome {
    let device = need!(Device::open());
    let status = Status::of(&device);
    assert_eq!(status.text("state"), "empty");
    assert!(!status.has("vmid"), "{status:?}");
    let fixture = need!(MappingFixture::new());
    assert_eq!(Status::of(&device), status, "status of another file");
    fixture.destroy();
    assert_eq!(Status::of(&fixture.device).text("state"), "empty");
    Outcome::Passed
}

/// fdinfo shows the id and the resources of a VM, as they change.
pub fn fdinfo_numbers() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let number = |key| Status::of(&fixture.device).number(key);
    assert_eq!(number("vmid"), u64::from(fixture.vmid));
    assert_eq!(number("vcpus"), 1);

    let areas = [
        GuestMemory::anonymous(4 * PAGE),
        GuestMemory::anonymous(3 * PAGE),
    ];
    let second = ram(2 * GUEST, &areas[1], 0, 3 * PAGE);
    assert_eq!(number("mapped_bytes"), 0);
    fixture.set(whole(&areas[0])).expect("SET_MEMSEG");
    assert_eq!(number("mapped_bytes"), 4 * PAGE as u64);
    fixture.set(second).expect("SET_MEMSEG");
    assert_eq!(number("mapped_bytes"), 7 * PAGE as u64);
    assert_eq!(number("mapped_bytes"), fixture.mapped_bytes());
    fixture.unset(whole(&areas[0])).expect("UNSET_MEMSEG");
    assert_eq!(number("mapped_bytes"), 3 * PAGE as u64);

    assert_eq!(number("clients"), 0);
    for (request, clients) in [
        (ACRN_IOCTL_CREATE_IOREQ_CLIENT, 1),
        (ACRN_IOCTL_DESTROY_IOREQ_CLIENT, 0),
    ] {
        fixture.device.plain(request).expect("a client");
        assert_eq!(number("clients"), clients);
    }

    let event = Eventfd::new();
    let device = &fixture.device;

    for (expected, ranges, irqs) in [
        (1, 0, 0),
        (0, ACRN_IOEVENTFD_FLAG_DEASSIGN, ACRN_IRQFD_FLAG_DEASSIGN),
    ] {
        device
            .ioeventfd(&event, ranges, 0xd000_0000, 4)
            .expect("IOEVENTFD");
        assert_eq!(number("ioeventfds"), expected);
        device.irqfd(&event, irqs, APIC, 0).expect("IRQFD");
        assert_eq!(number("irqfds"), expected);
    }

    // An irqfd whose eventfd was closed does not count once it is found, even by an IRQFD that
    // fails.
    let other = Eventfd::new();
    for event in [&event, &other] {
        device.irqfd(event, 0, APIC, 0).expect("IRQFD");
    }
    drop(event);
    assert_eq!(device.irqfd(&other, 0, APIC, 0), Err(Errno::EBUSY));
    assert_eq!(number("irqfds"), 1);
    fixture.destroy();
    Outcome::Passed
}

/// fdinfo shows the state of a VM, and the number of its requests for each handler.
pub fn fdinfo_states_and_requests() -> Outcome {
    const PORT: u16 = 0x510;
    const NOTIFY_PORT: u16 = 0x520;
    let port = Target::Port;
    let accesses = [
        // The driver handles the address register of PCI configuration space itself.
        write(port(0xcf8), Width::Four, 0x8000_1000),
        write(port(0xcf8), Width::Four, 0x8000_0000),
        // The device model handles a configuration register and a port.
        read(port(0xcfc), Width::Four),
        read(port(PORT), Width::One),
        // An eventfd handles these writes.
        write(port(NOTIFY_PORT), Width::Two, 1),
        write(port(NOTIFY_PORT), Width::Two, 2),
        write(port(NOTIFY_PORT), Width::Two, 3),
    ];
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&accesses));
    let device = Device::sharing(&guest.vm);
    let event = Eventfd::new();
    device
        .ioeventfd(&event, ACRN_IOEVENTFD_FLAG_PIO, NOTIFY_PORT.into(), 2)
        .expect("IOEVENTFD");

    let assert_state = |state| assert_eq!(Status::of(&device).text("state"), state);
    assert_state("created");
    guest.vm.start().expect("START_VM");
    assert_state("running");
    guest.serve(1, |_, _| 0);
    let status = Status::of(&device);
    let requests = ["device_model", "ioeventfd", "pci_config"]
        .map(|handler| status.number(&format!("requests_{handler}")));
    // This includes the request by which the guest reports that it is done.
    assert_eq!(requests, [3, 3, 2]);
    guest.vm.pause().expect("PAUSE_VM");
    assert_state("paused");
    guest.vm.reset().expect("RESET_VM");
    assert_state("created");
    guest.vm.pause().expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    assert_state("empty");
    Outcome::Passed
}

/// If the hypervisor refuses START_VM, the state does not change.
pub fn fdinfo_refused_start() -> Outcome {
    let fixture = need!(MappingFixture::new());
    fixture.probe.push_fault(fault(START_VM, -1));
    assert!(fixture.device.plain(ACRN_IOCTL_START_VM).is_err());
    assert_eq!(Status::of(&fixture.device).text("state"), "created");
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor refuses other commands, the state of a running or paused guest does not change
/// either.
pub fn fdinfo_refused_commands() -> Outcome {
    let probe = need!(Probe::open());
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    let device = Device::sharing(&guest.vm);
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    let refused = |request, id, state| {
        probe.push_fault(fault(id, -5));
        assert!(device.plain(request).is_err(), "{request:#x}");
        assert_eq!(Status::of(&device).text("state"), state, "{request:#x}");
        if let Some(status) = Status::of_vm(guest.vm.vmid()) {
            assert_eq!(status.text("state"), state, "{request:#x}, by debugfs");
        }
    };
    refused(ACRN_IOCTL_START_VM, START_VM, "running");
    refused(ACRN_IOCTL_PAUSE_VM, PAUSE_VM, "running");
    refused(ACRN_IOCTL_RESET_VM, RESET_VM, "running");
    refused(ACRN_IOCTL_DESTROY_VM, DESTROY_VM, "running");
    guest.vm.pause().expect("PAUSE_VM");
    refused(ACRN_IOCTL_PAUSE_VM, PAUSE_VM, "paused");
    refused(ACRN_IOCTL_START_VM, START_VM, "paused");
    refused(ACRN_IOCTL_RESET_VM, RESET_VM, "paused");
    refused(ACRN_IOCTL_DESTROY_VM, DESTROY_VM, "paused");
    guest.vm.reset().expect("RESET_VM");
    refused(ACRN_IOCTL_RESET_VM, RESET_VM, "created");
    Outcome::Passed
}
