// SPDX-License-Identifier: GPL-2.0

//! Tracepoints `acrn_hsm:*`. Upstream's driver has none.

use std::os::fd::AsRawFd;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    event::Event,
    events::Events,
    harness::Outcome,
    need,
    program::{read, write},
    scripted::{Answer, Idle, request},
};
use acrn_uapi::{ioctl::*, *};

const PORT: u16 = 0x520;
const ADDRESS: u64 = 0xd000_0040;

/// Each request and each MSI shows, with whose it is and what became of it; nothing shows when they are off.
pub fn requests_and_interrupts() -> Outcome {
    let idle = need!(Idle::new());
    let event = Event::new();
    let fd = event.as_raw_fd();
    let mut range = acrn_ioeventfd {
        fd: fd as u32,
        flags: ACRN_IOEVENTFD_FLAG_PIO,
        addr: PORT.into(),
        len: 2,
        ..Default::default()
    };
    let mut irq = acrn_irqfd {
        fd,
        ..Default::default()
    };
    (irq.msi.msi_addr, irq.msi.msi_data) = (0xfee0_0000, 0x41);
    idle.device
        .with(ACRN_IOCTL_IOEVENTFD, &mut range)
        .expect("IOEVENTFD");
    idle.device.with(ACRN_IOCTL_IRQFD, &mut irq).expect("IRQFD");

    let config_address = write(Target::Port(0xcf8), Width::Four, 0);
    let doorbell = write(Target::Port(PORT), Width::Two, 1);
    let memory = read(Target::Memory(ADDRESS), Width::Eight);
    let events = need!(Events::on());
    assert_eq!(idle.ask(config_address), Answer::Driver(None));
    assert_eq!(idle.ask(doorbell), Answer::Driver(None));
    assert_eq!(idle.ask(memory), Answer::DeviceModel);
    let seen = events.seen();
    events.turn_off();
    let vm = idle.vmid;
    let dispatch = |rest: &str| format!("acrn_ioreq_dispatch: vmid={vm} vcpu=0 handler={rest}");
    assert_eq!(
        seen,
        [
            dispatch("pci-config port write address=0xcf8 size=4"),
            format!("acrn_irqfd_inject: vmid={vm} msi_addr=0xfee00000 msi_data=0x41"),
            dispatch("ioeventfd port write address=0x520 size=2"),
            dispatch("device-model memory read address=0xd0000040 size=8"),
            format!("acrn_ioreq_finish: vmid={vm} vcpu=0"),
        ]
    );

    idle.ask(memory);
    assert_eq!(events.seen(), seen, "while they are off");
    Outcome::Passed
}

/// What a vCPU other than the first reads and writes.
pub fn of_other_vcpus() -> Outcome {
    let idle = need!(Idle::on(need!(cpus::pick(2))));
    let vm = idle.vmid;
    let events = need!(Events::on());
    for access in [
        read(Target::Port(0x510), Width::One),
        write(Target::Memory(ADDRESS), Width::Four, 1),
    ] {
        let answer = idle.raise(request(vm, 1, access));
        assert_eq!(answer, Answer::DeviceModel);
    }
    let taken = format!("acrn_ioreq_dispatch: vmid={vm} vcpu=1 handler=device-model");
    let finished = format!("acrn_ioreq_finish: vmid={vm} vcpu=1");
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

/// What a paused VM does not get does not show.
pub fn of_dropped_interrupts() -> Outcome {
    let idle = need!(Idle::new());
    let event = Event::new();
    let mut irq = acrn_irqfd {
        fd: event.as_raw_fd(),
        ..Default::default()
    };
    irq.msi.msi_addr = 0xfee0_0000;
    idle.device.with(ACRN_IOCTL_IRQFD, &mut irq).expect("IRQFD");
    idle.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let events = need!(Events::on());
    event.signal();
    assert_eq!(event.take(), 0, "the event was not taken");
    assert_eq!(events.seen(), [""; 0]);
    Outcome::Passed
}
