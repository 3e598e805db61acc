// SPDX-License-Identifier: GPL-2.0

//! Tests of a VM whose hypervisor polls for completion.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    eventfd::Eventfd,
    guest::{Guest, doorbell},
    harness::Outcome,
    hypercall::NOTIFY_REQUEST_FINISH,
    need,
    probe::Probe,
    program::{self, Operand, read, write},
    trace::Trace,
};
use mini_acrn_channel::kind;

/// ACRN's flag for such a VM (`GUEST_FLAG_IO_COMPLETION_POLLING`).
const POLLING: u64 = 1 << 2;
const ANSWER: u64 = 0x0123_4567_89ab_cdef;
const DOORBELL: u16 = 0x600;

/// The driver never notifies a polling hypervisor of requests that the device model, an ioeventfd
/// or the driver itself completes.
pub fn polling_is_never_notified() -> Outcome {
    const ROUNDS: usize = 30;
    let probe = need!(Probe::open());
    let round = [
        read(Target::Memory(0xd000_0040), Width::Eight),
        write(Target::Port(DOORBELL), Width::Four, 1),
        read(Target::Port(0x510), Width::Four),
        write(Target::Port(0xcf8), Width::Four, 0),
        // ACRN completes this access itself, because the enable bit of the address is clear.
        read(Target::Port(0xcfc), Width::Four),
    ];
    let guest = Guest::with_flags(need!(cpus::pick(1)), POLLING);
    guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
    guest.load_long_mode(&program::long_mode(&round.repeat(ROUNDS)));
    let event = Eventfd::new();
    let doorbell = doorbell(DOORBELL);
    guest
        .vm
        .assign_ioeventfd(&event, &doorbell)
        .expect("IOEVENTFD");
    let trace = Trace::start(&probe);
    guest.vm.start().expect("START_VM");
    let requests = guest.serve(1, |_, _| ANSWER);
    assert_eq!(requests.len(), 2 * ROUNDS);
    assert_eq!(event.take(), ROUNDS as u64);
    let after = |access, answer| program::register_after_read(access, answer, Operand::Bits64);
    let expected = [
        after(&round[0], ANSWER),
        after(&round[2], ANSWER),
        after(&round[4], u64::MAX),
    ];
    for index in 0..3 * ROUNDS {
        let stored: u64 = guest.memory.read(program::RESULTS as usize + 8 * index);
        assert_eq!(stored, expected[index % 3], "answer {index}");
    }
    // The guest makes one more request to report that it is done.
    let requests = (round.len() - 1) * ROUNDS + 1;
    assert_eq!(trace.events(kind::REQUEST_PENDING).len(), requests);
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 0);
    trace.assert_sane();
    Outcome::Passed
}
