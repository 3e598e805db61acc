// SPDX-License-Identifier: GPL-2.0

//! Tests of the hypercall for a signalled eventfd.

use acrn_selftests::{
    cpus,
    device::APIC,
    eventfd::Eventfd,
    guest::create_raw,
    harness::Outcome,
    hypercall::INJECT_MSI,
    mapping_fixture::MappingFixture,
    need,
    probe::{Probe, fault},
    trace::Trace,
    waiter::SleepingCommand,
};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

use crate::assign::{argument, assign, assigned, deassign, injected, irqfd};

/// The driver passes address and data on unchanged. The write to the eventfd returns after the
/// interrupt was sent.
pub fn exact_bytes() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let vm = u64::from(fixture.vmid);
    for (address, data) in [
        (APIC, 0x41),
        (APIC | 0xffff_ffff_000f_fffc, 0x1ef),
        (APIC, 0x8765_4321_0000_c155),
        // These are no addresses of a local APIC. The driver passes them on, and the hypervisor
        // refuses them.
        (0, 0),
        (u64::MAX, u64::MAX),
    ] {
        let event = Eventfd::new();
        irqfd(&fixture.device, argument(&event, address, data)).expect("IRQFD");
        let trace = Trace::start(&fixture.probe);
        event.signal();
        assert_eq!(injected(&trace), [(vm, address, data)]);
        assert_eq!(trace.ids(), [INJECT_MSI]);
    }
    Outcome::Passed
}

/// Each write to the eventfd causes one interrupt, for any value.
pub fn one_for_each_write() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    let trace = Trace::start(&fixture.probe);
    for count in [1, 1, 7, 1 << 32] {
        event.add(count).expect("write to the eventfd");
    }
    assert_eq!(trace.calls(INJECT_MSI).len(), 4);
    Outcome::Passed
}

/// The driver takes each event from the counter of the eventfd. Upstream's driver leaves it there.
pub fn event_is_taken() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    for _ in 0..3 {
        event.signal();
        assert_eq!(event.take(), 0);
    }
    // Therefore the counter is never full for a writer.
    for _ in 0..3 {
        assert_eq!(event.add(u64::MAX - 1), Ok(()));
    }
    assert_eq!(event.take(), 0);
    Outcome::Passed
}

/// Assigning an eventfd that was signalled several times before injects one interrupt at once.
pub fn signalled_before() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::new();
    event.signal();
    event.signal();
    let trace = Trace::start(&fixture.probe);
    assign(&fixture.device, &event, 0x45).expect("IRQFD");
    let msi = (fixture.vmid.into(), APIC, 0x45);
    assert_eq!(injected(&trace), [msi]);
    event.signal();
    assert_eq!(injected(&trace), [msi; 2]);
    Outcome::Passed
}

/// The driver takes earlier signals from the counter of the eventfd. Upstream's driver leaves them
/// there.
pub fn signalled_before_is_taken() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::new();
    event.signal();
    assign(&fixture.device, &event, 0x45).expect("IRQFD");
    assert_eq!(event.take(), 0);
    // The next assignment does not inject an event again that the driver has taken.
    deassign(&fixture.device, &event).expect("DEASSIGN");
    let trace = Trace::start(&fixture.probe);
    assign(&fixture.device, &event, 0x45).expect("IRQFD");
    trace.assert_no_hypercalls();
    Outcome::Passed
}

/// A thread that waits for a full counter continues when the driver takes the event.
pub fn writer_goes_on() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::new();
    event.add(u64::MAX - 1).expect("write to the eventfd");
    event.block();
    let writer = event.duplicate();
    let writer = SleepingCommand::start_or_finish(move || writer.signal());
    assert!(writer.waits(), "the write to a full counter returned early");
    assign(&fixture.device, &event, 0x45).expect("IRQFD");
    writer.result();
    Outcome::Passed
}

/// The driver injects no interrupt before a signal.
pub fn silent_until_signalled() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    let event = assigned(&fixture.device, 0x31);
    assert_eq!(event.take(), 0);
    deassign(&fixture.device, &event).expect("DEASSIGN");
    trace.assert_no_hypercalls();
    Outcome::Passed
}

/// Each of many eventfds causes its own MSI.
pub fn many() -> Outcome {
    const MANY: u64 = 256;
    let fixture = need!(MappingFixture::new());
    let vm = u64::from(fixture.vmid);
    let events = (0..MANY).map(|index| {
        let event = Eventfd::new();
        irqfd(&fixture.device, argument(&event, APIC, index)).expect("IRQFD");
        event
    });
    let events: Vec<_> = events.collect();
    let trace = Trace::start(&fixture.probe);
    let order = (0..MANY).map(|index| index * 77 % MANY);
    for index in order.clone() {
        events[index as usize].signal();
    }
    let expected: Vec<_> = order.map(|index| (vm, APIC, index)).collect();
    assert_eq!(injected(&trace), expected);
    Outcome::Passed
}

/// Two VMs have an eventfd each, and share a third one, which interrupts both.
pub fn two_vms() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (first, _first_page, first_id) = create_raw(masks[0]);
    let (second, _second_page, second_id) = create_raw(masks[1]);
    let (first_id, second_id) = (u64::from(first_id), u64::from(second_id));
    let own = [assigned(&first, 0x31), assigned(&second, 0x32)];
    let shared = assigned(&first, 0x41);
    assign(&second, &shared, 0x42).expect("IRQFD");

    let trace = Trace::start(&probe);
    own[1].signal();
    own[0].signal();
    let expected = [(second_id, APIC, 0x32), (first_id, APIC, 0x31)];
    assert_eq!(injected(&trace), expected);

    let trace = Trace::start(&probe);
    shared.signal();
    let mut messages = injected(&trace);
    messages.sort_by_key(|(_, _, data)| *data);
    assert_eq!(messages, [(first_id, APIC, 0x41), (second_id, APIC, 0x42)]);

    // One VM can deassign the shared eventfd.
    deassign(&first, &shared).expect("DEASSIGN");
    let trace = Trace::start(&probe);
    shared.signal();
    assert_eq!(injected(&trace), [(second_id, APIC, 0x42)]);
    Outcome::Passed
}

/// A refusal by the hypervisor does not affect the next interrupt.
pub fn refused() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    for errno in [Errno::EPERM, Errno::EINVAL, Errno::ENOTTY] {
        let refusal = Fault {
            count: 2,
            ..fault(INJECT_MSI, -i64::from(errno as i32))
        };
        fixture.probe.push_fault(refusal);
        let trace = Trace::start(&fixture.probe);
        for _ in 0..3 {
            event.signal();
        }
        let results: Vec<_> = trace
            .calls(INJECT_MSI)
            .iter()
            .map(|record| record.result)
            .collect();
        assert_eq!(results, [refusal.result, refusal.result, 0]);
    }
    Outcome::Passed
}

/// IRQFD succeeds even if the hypervisor refuses the interrupt for an earlier signal.
pub fn refused_at_once() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::new();
    event.signal();
    fixture.probe.push_fault(fault(INJECT_MSI, -1));
    assign(&fixture.device, &event, 0x31).expect("IRQFD");
    let trace = Trace::start(&fixture.probe);
    event.signal();
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x31)]);
    Outcome::Passed
}
