// SPDX-License-Identifier: GPL-2.0

//! Clients come and go while vCPUs wait.

use std::{thread, time::Duration};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    need,
    probe::Probe,
    program::{self, DONE_PORT, read},
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{ACRN_IOREQ_STATE_FREE, ACRN_IOREQ_STATE_PROCESSING};

const PORT: Target = Target::Port(0x510);
/// A guest that reads a port and stores the answer.
fn reader(guest: &Guest) {
    guest.load_long_mode(&program::long_mode(&[read(PORT, Width::Four)]));
}

/// EAX after the read.
fn stored(guest: &Guest) -> u32 {
    guest.memory.read(program::RESULTS as usize)
}

/// A request that comes before there is a client waits for one (A11).
pub fn request_before_client() -> Outcome {
    let guest = Guest::without_client(need!(cpus::pick(1)));
    reader(&guest);
    guest.vm.start().expect("START_VM");
    let slot = guest.page.slot(0).expect("slot 0");
    // FREE -> PENDING; without a client it stays there.
    until("there is a request", || {
        slot.state() != ACRN_IOREQ_STATE_FREE
    });
    thread::sleep(Duration::from_millis(50));
    guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
    let asked = guest.serve(1, |_, _| 0x77);
    assert_eq!(asked.len(), 1);
    assert_eq!(stored(&guest), 0x77);
    Outcome::Passed
}

/// Ends the client while it has a request. The vCPU goes on as if nothing were at the port (A12).
pub fn destroy_client_frees_vcpu() -> Outcome {
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    let guest = Guest::new(need!(cpus::pick(1)));
    reader(&guest);
    guest.vm.start().expect("START_VM");
    guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    let slot = guest.page.slot(0).expect("slot 0");
    assert_eq!(slot.state(), ACRN_IOREQ_STATE_PROCESSING);
    guest
        .vm
        .destroy_ioreq_client()
        .expect("DESTROY_IOREQ_CLIENT");
    guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
    // The next request of the vCPU is its word that it is done.
    guest.serve(1, |_, _| 0);
    assert_eq!(stored(&guest), 0xffff_ffff);
    if let Some(trace) = trace {
        trace.assert_sane();
    }
    Outcome::Passed
}

/// CLEAR_VM_IOREQ completes what the device model did not.
pub fn clear_completes_requests() -> Outcome {
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    let guest = Guest::new(need!(cpus::pick(1)));
    reader(&guest);
    guest.vm.start().expect("START_VM");
    guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    guest.vm.clear_vm_ioreq().expect("CLEAR_VM_IOREQ");
    guest.serve(1, |_, _| 0);
    assert_eq!(stored(&guest), 0xffff_ffff);
    if let Some(trace) = trace {
        trace.assert_sane();
    }
    Outcome::Passed
}

/// A client that is made after another was destroyed gets the requests.
pub fn next_client_serves() -> Outcome {
    let guest = Guest::new(need!(cpus::pick(1)));
    reader(&guest);
    guest
        .vm
        .destroy_ioreq_client()
        .expect("DESTROY_IOREQ_CLIENT");
    guest.vm.start().expect("START_VM");
    guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
    guest.serve(1, |_, _| 0x5a);
    assert_eq!(stored(&guest), 0x5a);
    Outcome::Passed
}

/// ATTACH_IOREQ_CLIENT does not wait while a request is left that was not finished.
pub fn attach_returns_while_unserved() -> Outcome {
    let guest = Guest::new(need!(cpus::pick(1)));
    reader(&guest);
    guest.vm.start().expect("START_VM");
    for _ in 0..3 {
        guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    }
    let asked = guest.serve_until(
        |_, _| 1,
        |_, request| request.target == Target::Port(DONE_PORT),
    );
    assert_eq!(asked.len(), 1);
    Outcome::Passed
}
