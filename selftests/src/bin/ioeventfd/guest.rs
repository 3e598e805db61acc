// SPDX-License-Identifier: GPL-2.0

//! Tests of running guests that write to addresses with ioeventfds.

use std::{thread, time::Duration};

use acrn_ioctls::{IoEvent, IoEventAddress, Target, Width};
use acrn_selftests::{
    cpus,
    eventfd::Eventfd,
    guest::{Guest, doorbell},
    harness::Outcome,
    hypercall::NOTIFY_REQUEST_FINISH,
    need,
    probe::Probe,
    program::{self, Access, Operand, read, write},
    trace::Trace,
    waiter::until,
};
use mini_acrn_channel::kind;

use crate::range::{ADDRESS, PORT, WIDTHS};

const fn memory(address: u64) -> IoEvent {
    IoEvent {
        address: IoEventAddress::Mmio(address),
        len: 8,
        datamatch: None,
    }
}

fn assigned(guest: &Guest, range: &IoEvent) -> Eventfd {
    let event = Eventfd::new();
    guest.vm.assign_ioeventfd(&event, range).expect("IOEVENTFD");
    event
}

/// OUT, IN and MOV of each width work at an ioeventfd. Writes signal it, and reads return 0.
pub fn each_instruction() -> Outcome {
    let ports = [Width::One, Width::Two, Width::Four].map(|width| (PORT, width));
    let addresses = WIDTHS.map(|width| (ADDRESS, width));
    let accesses: Vec<_> = ports
        .into_iter()
        .chain(addresses)
        .flat_map(|(target, width)| [write(target, width, 0x5a), read(target, width)])
        .collect();
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&accesses));
    let at_port = assigned(&guest, &doorbell(0x510));
    let at_address = assigned(&guest, &memory(0xd000_0040));
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    guest.vm.start().expect("START_VM");
    let requests = guest.serve(1, |_, _| 0x77);
    assert_eq!(requests, [], "requests for the device model");
    assert_eq!((at_port.take(), at_address.take()), (3, 4));
    let reads = accesses.iter().filter(|access| access.value.is_none());
    for (index, access) in reads.enumerate() {
        let stored: u64 = guest.memory.read(program::RESULTS as usize + 8 * index);
        let expected = program::register_after_read(access, 0, Operand::Bits64);
        assert_eq!(stored, expected, "after {access:?}");
    }
    if let Some(trace) = trace {
        // The guest makes one more request to report that it is done.
        let requests = accesses.len() + 1;
        assert_eq!(trace.events(kind::REQUEST_PENDING).len(), requests);
        // The vCPU may read the last value later.
        until("the hypervisor consumes all completed requests", || {
            trace.events(kind::REQUEST_CONSUMED).len() == requests
        });
        assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), requests);
        trace.assert_sane();
    }
    Outcome::Passed
}

/// Writes that alternately signal an eventfd and go to the device model stay in order.
pub fn in_turns() -> Outcome {
    const TURNS: u64 = 50;
    let accesses: Vec<Access> = (0..TURNS)
        .flat_map(|turn| {
            [
                write(PORT, Width::Four, turn),
                write(Target::Port(0x600), Width::Four, turn),
            ]
        })
        .collect();
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&accesses));
    let event = assigned(&guest, &doorbell(0x510));
    guest.vm.start().expect("START_VM");
    let mut signals = 0;
    let requests = guest.serve_until(
        |_, _| 0,
        |_, request| {
            signals += event.take();
            if request.target == Target::Port(0x600) {
                assert_eq!(signals, request.value + 1);
            }
            request.target == Target::Port(program::DONE_PORT)
        },
    );
    assert_eq!(requests.len() as u64, TURNS);
    Outcome::Passed
}

/// Two vCPUs write concurrently to one shared eventfd and to one eventfd each. No signal is lost.
pub fn two_vcpus() -> Outcome {
    const COUNT: usize = 100;
    let own = |port| write(Target::Port(port), Width::Two, 0);
    let accesses = |port| -> Vec<_> { (0..COUNT).flat_map(|_| [own(0x510), own(port)]).collect() };
    let program = program::long_mode_with_second_vcpu(&accesses(0x520));
    let guest = Guest::long_mode(need!(cpus::pick(2)), &program);
    let second = program::real_mode(program::SECOND_RESULTS, &accesses(0x530));
    guest
        .memory
        .write_bytes(program::REAL_MODE_ENTRY as usize, &second);
    let events = [0x510, 0x520, 0x530].map(|number| assigned(&guest, &doorbell(number)));
    guest.vm.start().expect("START_VM");
    let requests = guest.serve(2, |_, _| 0);
    assert_eq!(requests, []);
    let count = COUNT as u64;
    let signals = events.each_ref().map(Eventfd::take);
    assert_eq!(signals, [2 * count, count, count]);
    Outcome::Passed
}

/// DEASSIGN while the guest writes makes all later writes go to the device model, and loses none.
pub fn deassign_while_writing() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::chatter(0x510));
    let event = assigned(&guest, &doorbell(0x510));
    let mut signals = 0;
    guest.vm.start().expect("START_VM");
    until("the guest writes often", || {
        signals += event.take();
        signals > 100
    });
    guest
        .vm
        .deassign_ioeventfd(&event, &doorbell(0x510))
        .expect("DEASSIGN");
    let requests = guest.serve_requests(10);
    signals += event.take();
    let values: Vec<_> = requests.iter().map(|(_, request)| request.value).collect();
    let expected: Vec<_> = (signals..signals + 10).collect();
    assert_eq!(values, expected, "after {signals} signals");
    Outcome::Passed
}

/// The device model completes a write that it received before an ioeventfd is assigned for it.
pub fn assign_while_waiting() -> Outcome {
    let accesses = [write(PORT, Width::Four, 1), write(PORT, Width::Four, 2)];
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&accesses));
    guest.vm.start().expect("START_VM");
    guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    let event = assigned(&guest, &doorbell(0x510));
    thread::sleep(Duration::from_millis(20));
    assert_eq!(event.take(), 0);
    let requests = guest.serve(1, |_, _| 0);
    let values: Vec<_> = requests.iter().map(|(_, request)| request.value).collect();
    assert_eq!(values, [1]);
    assert_eq!(event.take(), 1);
    Outcome::Passed
}
