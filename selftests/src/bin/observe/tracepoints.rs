// SPDX-License-Identifier: GPL-2.0

//! Tests of the tracepoints `acrn_hsm:*`. Upstream's driver has no tracepoints.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::APIC,
    eventfd::Eventfd,
    harness::Outcome,
    need,
    program::{read, write},
    scripted_vm::{Answer, ScriptedVm, request},
    tracepoints::Tracepoints,
};
use acrn_uapi::{ioctl::*, *};

const PORT: u16 = 0x520;
const ADDRESS: u64 = 0xd000_0040;

/// The tracepoints record each request with its VM and its handler, and each MSI with its VM. They
/// record nothing while they are disabled.
pub fn trace_of_requests_and_interrupts() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    vm.device
        .ioeventfd(&event, ACRN_IOEVENTFD_FLAG_PIO, PORT.into(), 2)
        .expect("IOEVENTFD");
    vm.device.irqfd(&event, 0, APIC, 0x41).expect("IRQFD");

    let config_address = write(Target::Port(0xcf8), Width::Four, 0);
    let doorbell = write(Target::Port(PORT), Width::Two, 1);
    let memory = read(Target::Memory(ADDRESS), Width::Eight);
    let events = need!(Tracepoints::on());
    assert_eq!(vm.ask(config_address), Answer::Driver(None));
    assert_eq!(vm.ask(doorbell), Answer::Driver(None));
    assert_eq!(vm.ask(memory), Answer::DeviceModel);
    let seen = events.seen();
    events.turn_off();
    let vmid = vm.vmid;
    let dispatch = |rest: &str| format!("acrn_ioreq_dispatch: vmid={vmid} vcpu=0 handler={rest}");
    assert_eq!(
        seen,
        [
            dispatch("pci-config port write address=0xcf8 size=4"),
            format!("acrn_irqfd_inject: vmid={vmid} msi_addr=0xfee00000 msi_data=0x41"),
            dispatch("ioeventfd port write address=0x520 size=2"),
            dispatch("device-model memory read address=0xd0000040 size=8"),
            format!("acrn_ioreq_finish: vmid={vmid} vcpu=0"),
        ]
    );

    vm.ask(memory);
    assert_eq!(
        events.seen(),
        seen,
        "events while the tracepoints are disabled"
    );
    Outcome::Passed
}

/// The tracepoints record reads and writes by a vCPU other than the first.
pub fn trace_of_other_vcpus() -> Outcome {
    let vm = need!(ScriptedVm::on(need!(cpus::pick(2))));
    let vmid = vm.vmid;
    let events = need!(Tracepoints::on());
    for access in [
        read(Target::Port(0x510), Width::One),
        write(Target::Memory(ADDRESS), Width::Four, 1),
    ] {
        let answer = vm.raise(request(vmid, 1, access));
        assert_eq!(answer, Answer::DeviceModel);
    }
    let taken = format!("acrn_ioreq_dispatch: vmid={vmid} vcpu=1 handler=device-model");
    let finished = format!("acrn_ioreq_finish: vmid={vmid} vcpu=1");
    assert_eq!(
        events.seen(),
        [
            format!("{taken} port read address=0x510 size=1"),
            finished.clone(),
            format!("{taken} memory write address=0xd0000040 size=4"),
            finished,
        ]
    );
    Outcome::Passed
}

/// The tracepoints do not record interrupts that a paused VM does not get.
pub fn trace_of_dropped_interrupts() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    vm.device.irqfd(&event, 0, APIC, 0).expect("IRQFD");
    vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let events = need!(Tracepoints::on());
    event.signal();
    assert_eq!(event.take(), 0, "events that the driver has not taken");
    assert_eq!(events.seen(), [""; 0]);
    Outcome::Passed
}
