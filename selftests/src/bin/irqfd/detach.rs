// SPDX-License-Identifier: GPL-2.0

//! DEASSIGN, and eventfds that are closed while they are assigned.

use std::os::fd::AsRawFd;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    bench::Bench,
    event::{Event, until_released},
    harness::Outcome,
    need,
    program::write,
    scripted::{Answer, Idle},
    trace::Trace,
};
use acrn_uapi::{ACRN_IOEVENTFD_FLAG_PIO, acrn_ioeventfd, ioctl::ACRN_IOCTL_IOEVENTFD};
use nix::errno::Errno;

use crate::assign::{APIC, assign, assigned, deassign, injected};

/// After DEASSIGN a write is only a write: no interrupt, and the event stays on the counter.
pub fn deassign_stops() -> Outcome {
    let bench = need!(Bench::new());
    let event = assigned(&bench.device, 0x31);
    deassign(&bench.device, &event).expect("DEASSIGN");
    let trace = Trace::start(&bench.probe);
    event.signal();
    event.signal();
    assert_eq!(trace.ids(), []);
    assert_eq!(event.take(), 2);
    Outcome::Passed
}

/// Upstream takes it for no error, and so do device models.
pub fn deassign_unknown() -> Outcome {
    let bench = need!(Bench::new());
    let event = assigned(&bench.device, 0x31);
    assert_eq!(deassign(&bench.device, &Event::new()), Ok(()));
    let trace = Trace::start(&bench.probe);
    event.signal();
    assert_eq!(trace.ids().len(), 1);
    for _ in 0..3 {
        assert_eq!(deassign(&bench.device, &event), Ok(()));
    }
    Outcome::Passed
}

/// Another descriptor of the eventfd will do.
pub fn deassign_by_duplicate() -> Outcome {
    let bench = need!(Bench::new());
    let event = assigned(&bench.device, 0x31);
    deassign(&bench.device, &event.duplicate()).expect("DEASSIGN");
    let trace = Trace::start(&bench.probe);
    event.signal();
    assert_eq!(trace.ids(), []);
    Outcome::Passed
}

/// Another MSI for the same eventfd, which is how a device model changes one.
pub fn assign_again() -> Outcome {
    let bench = need!(Bench::new());
    let event = Event::new();
    let other = assigned(&bench.device, 0x20);
    for vector in 0x31..0x51 {
        assign(&bench.device, &event, vector).expect("IRQFD");
        let trace = Trace::start(&bench.probe);
        event.signal();
        let msi = (bench.vmid.into(), APIC, vector.into());
        assert_eq!(injected(&trace), [msi]);
        deassign(&bench.device, &event).expect("DEASSIGN");
    }
    let trace = Trace::start(&bench.probe);
    other.signal();
    assert_eq!(injected(&trace).len(), 1);
    Outcome::Passed
}

/// An eventfd that is closed and that a VM's write still signals: no interrupt any more.
pub fn closed_but_signalled() -> Outcome {
    const PORT: u16 = 0x520;
    let idle = need!(Idle::new());
    let event = assigned(&idle.device, 0x31);
    let mut doorbell = acrn_ioeventfd {
        fd: event.as_raw_fd() as u32,
        flags: ACRN_IOEVENTFD_FLAG_PIO,
        addr: PORT.into(),
        len: 4,
        ..Default::default()
    };
    idle.device
        .with(ACRN_IOCTL_IOEVENTFD, &mut doorbell)
        .expect("IOEVENTFD");
    let ring = || idle.ask(write(Target::Port(PORT), Width::Four, 1));
    let trace = Trace::start(&idle.probe);
    assert_eq!(ring(), Answer::Driver(None));
    assert_eq!(injected(&trace).len(), 1);
    drop(event);
    let trace = Trace::start(&idle.probe);
    assert_eq!(ring(), Answer::Driver(None));
    assert_eq!(injected(&trace), []);
    Outcome::Passed
}

/// DEASSIGN lets go of the eventfd.
pub fn deassign_releases() -> Outcome {
    let bench = need!(Bench::new());
    let events: Vec<_> = (0..10).map(|_| assigned(&bench.device, 0x31)).collect();
    let ids: Vec<_> = events.iter().map(Event::id).collect();
    for event in events {
        deassign(&bench.device, &event).expect("DEASSIGN");
    }
    until_released(&ids);
    Outcome::Passed
}

/// The last descriptor of an eventfd is closed: it is detached, and its number may be another's.
pub fn closed_detaches() -> Outcome {
    let bench = need!(Bench::new());
    let mut ids = Vec::new();
    let mut event = assigned(&bench.device, 0x31);
    for round in 0..20u8 {
        ids.push(event.id());
        let fresh = Event::new();
        // Closes the old one and takes its number.
        event = fresh.duplicate_onto(event);
        drop(fresh);
        assert_eq!(deassign(&bench.device, &event), Ok(()), "not assigned yet");
        let vector = 0x40 + round;
        assert_eq!(assign(&bench.device, &event, vector), Ok(()));
        let trace = Trace::start(&bench.probe);
        event.signal();
        let msi = (bench.vmid.into(), APIC, vector.into());
        assert_eq!(injected(&trace), [msi]);
        assert_eq!(assign(&bench.device, &event, 0x31), Err(Errno::EBUSY));
    }
    ids.push(event.id());
    drop(event);
    bench.destroy();
    until_released(&ids);
    Outcome::Passed
}

/// An eventfd that was closed is let go of while the VM goes on, at the latest when the next one comes.
pub fn closed_is_released() -> Outcome {
    let bench = need!(Bench::new());
    let events: Vec<_> = (0..10).map(|_| assigned(&bench.device, 0x31)).collect();
    let ids: Vec<_> = events.iter().map(Event::id).collect();
    drop(events);
    let next = assigned(&bench.device, 0x31);
    // If they are let go of at once, the next one has got the id of one of them.
    let ids: Vec<_> = ids.into_iter().filter(|id| *id != next.id()).collect();
    until_released(&ids);
    let trace = Trace::start(&bench.probe);
    next.signal();
    assert_eq!(injected(&trace).len(), 1);
    Outcome::Passed
}

/// The same if it is a DEASSIGN that comes next, of another one.
pub fn closed_is_released_by_deassign() -> Outcome {
    let bench = need!(Bench::new());
    let stays = assigned(&bench.device, 0x31);
    let gone = assigned(&bench.device, 0x32);
    let events: Vec<_> = (0..10).map(|_| assigned(&bench.device, 0x33)).collect();
    let ids: Vec<_> = events.iter().map(Event::id).collect();
    drop(events);
    deassign(&bench.device, &gone).expect("DEASSIGN");
    until_released(&ids);
    let trace = Trace::start(&bench.probe);
    stays.signal();
    assert_eq!(injected(&trace), [(bench.vmid.into(), APIC, 0x31)]);
    Outcome::Passed
}

/// As long as any descriptor is left, the eventfd is assigned.
pub fn closed_but_not_last() -> Outcome {
    let bench = need!(Bench::new());
    let event = assigned(&bench.device, 0x31);
    let duplicate = event.duplicate();
    drop(event);
    let trace = Trace::start(&bench.probe);
    duplicate.signal();
    assert_eq!(injected(&trace), [(bench.vmid.into(), APIC, 0x31)]);
    assert_eq!(assign(&bench.device, &duplicate, 0x31), Err(Errno::EBUSY));
    Outcome::Passed
}
