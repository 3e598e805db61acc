// SPDX-License-Identifier: GPL-2.0

//! Tests of DEASSIGN, and of eventfds that are closed while they are assigned.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    device::APIC,
    eventfd::{Eventfd, until_released},
    harness::Outcome,
    mapping_fixture::MappingFixture,
    need,
    program::write,
    scripted_vm::{Answer, ScriptedVm},
    trace::Trace,
};
use acrn_uapi::ACRN_IOEVENTFD_FLAG_PIO;
use nix::errno::Errno;

use crate::assign::{assign, assigned, deassign, injected};

/// After DEASSIGN, a write to the eventfd causes no interrupt, and the event stays on the counter.
pub fn deassign_stops() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    deassign(&fixture.device, &event).expect("DEASSIGN");
    let trace = Trace::start(&fixture.probe);
    event.signal();
    event.signal();
    trace.assert_no_hypercalls();
    assert_eq!(event.take(), 2);
    Outcome::Passed
}

/// DEASSIGN succeeds for an eventfd that is not assigned, as with upstream's driver. Device models
/// rely on it.
pub fn deassign_unknown() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    assert_eq!(deassign(&fixture.device, &Eventfd::new()), Ok(()));
    let trace = Trace::start(&fixture.probe);
    event.signal();
    assert_eq!(trace.ids().len(), 1);
    for _ in 0..3 {
        assert_eq!(deassign(&fixture.device, &event), Ok(()));
    }
    Outcome::Passed
}

/// DEASSIGN accepts another descriptor of the eventfd.
pub fn deassign_by_duplicate() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    deassign(&fixture.device, &event.duplicate()).expect("DEASSIGN");
    let trace = Trace::start(&fixture.probe);
    event.signal();
    trace.assert_no_hypercalls();
    Outcome::Passed
}

/// A device model can change the MSI of an eventfd by DEASSIGN and another assignment.
pub fn assign_again() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::new();
    let other = assigned(&fixture.device, 0x20);
    for vector in 0x31..0x51 {
        assign(&fixture.device, &event, vector).expect("IRQFD");
        let trace = Trace::start(&fixture.probe);
        event.signal();
        let msi = (fixture.vmid.into(), APIC, vector.into());
        assert_eq!(injected(&trace), [msi]);
        deassign(&fixture.device, &event).expect("DEASSIGN");
    }
    let trace = Trace::start(&fixture.probe);
    other.signal();
    assert_eq!(injected(&trace).len(), 1);
    Outcome::Passed
}

/// An eventfd whose descriptors are closed causes no interrupt any more, even if a VM's writes
/// still signal it.
pub fn closed_but_signalled() -> Outcome {
    const PORT: u16 = 0x520;
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, 0x31);
    vm.device
        .ioeventfd(&event, ACRN_IOEVENTFD_FLAG_PIO, PORT.into(), 4)
        .expect("IOEVENTFD");
    let write_port = || vm.ask(write(Target::Port(PORT), Width::Four, 1));
    let trace = Trace::start(&vm.probe);
    assert_eq!(write_port(), Answer::Driver(None));
    assert_eq!(injected(&trace).len(), 1);
    drop(event);
    let trace = Trace::start(&vm.probe);
    assert_eq!(write_port(), Answer::Driver(None));
    assert_eq!(injected(&trace), []);
    Outcome::Passed
}

/// DEASSIGN releases the eventfd.
pub fn deassign_releases() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let events: Vec<_> = (0..10).map(|_| assigned(&fixture.device, 0x31)).collect();
    let ids: Vec<_> = events.iter().map(Eventfd::id).collect();
    for event in events {
        deassign(&fixture.device, &event).expect("DEASSIGN");
    }
    until_released(&ids);
    Outcome::Passed
}

/// Closing the last descriptor of an eventfd detaches it. The descriptor number may then refer to
/// another eventfd.
pub fn closed_detaches() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let mut ids = Vec::new();
    let mut event = assigned(&fixture.device, 0x31);
    for round in 0..20u8 {
        ids.push(event.id());
        let fresh = Eventfd::new();
        // This closes the old eventfd, and the new one takes over its descriptor number.
        event = fresh.duplicate_onto(event);
        drop(fresh);
        assert_eq!(
            deassign(&fixture.device, &event),
            Ok(()),
            "DEASSIGN of an eventfd that is not yet assigned"
        );
        let vector = 0x40 + round;
        assert_eq!(assign(&fixture.device, &event, vector), Ok(()));
        let trace = Trace::start(&fixture.probe);
        event.signal();
        let msi = (fixture.vmid.into(), APIC, vector.into());
        assert_eq!(injected(&trace), [msi]);
        assert_eq!(assign(&fixture.device, &event, 0x31), Err(Errno::EBUSY));
    }
    ids.push(event.id());
    drop(event);
    fixture.destroy();
    until_released(&ids);
    Outcome::Passed
}

/// A closed eventfd is released while the VM exists, at the latest by the next assignment.
pub fn closed_is_released() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let events: Vec<_> = (0..10).map(|_| assigned(&fixture.device, 0x31)).collect();
    let ids: Vec<_> = events.iter().map(Eventfd::id).collect();
    drop(events);
    let next = assigned(&fixture.device, 0x31);
    // If the driver releases the eventfds at once, the next eventfd has the ID of one of them.
    let ids: Vec<_> = ids.into_iter().filter(|id| *id != next.id()).collect();
    until_released(&ids);
    let trace = Trace::start(&fixture.probe);
    next.signal();
    assert_eq!(injected(&trace).len(), 1);
    Outcome::Passed
}

/// DEASSIGN of another eventfd releases a closed eventfd.
pub fn closed_is_released_by_deassign() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let stays = assigned(&fixture.device, 0x31);
    let gone = assigned(&fixture.device, 0x32);
    let events: Vec<_> = (0..10).map(|_| assigned(&fixture.device, 0x33)).collect();
    let ids: Vec<_> = events.iter().map(Eventfd::id).collect();
    drop(events);
    deassign(&fixture.device, &gone).expect("DEASSIGN");
    until_released(&ids);
    let trace = Trace::start(&fixture.probe);
    stays.signal();
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x31)]);
    Outcome::Passed
}

/// An eventfd stays assigned while any of its descriptors is open.
pub fn closed_but_not_last() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    let duplicate = event.duplicate();
    drop(event);
    let trace = Trace::start(&fixture.probe);
    duplicate.signal();
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x31)]);
    assert_eq!(assign(&fixture.device, &duplicate, 0x31), Err(Errno::EBUSY));
    Outcome::Passed
}
