// SPDX-License-Identifier: GPL-2.0

//! Tests that VMs and device models do not disturb each other.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use acrn_selftests::{cpus, guest::Guest, harness::Outcome, need, program};

const PORT: u16 = 0x510;

/// The requests of a VM stay complete and in order while other VMs and their clients are created
/// and destroyed (R6).
pub fn other_vms_come_and_go() -> Outcome {
    const ROUNDS: usize = 15;
    let masks = need!(cpus::pick_many(&[1, 1]));
    let guest = Guest::long_mode(masks[0], &program::chatter(PORT));
    let ended = AtomicBool::new(false);
    guest.vm.start().expect("START_VM");
    let requests = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let other = Guest::long_mode(masks[1], &program::long_mode(&[]));
                other.vm.start().expect("START_VM");
                other.serve(1, |_, _| 0);
            }
            ended.store(true, Ordering::Relaxed);
        });
        guest.serve_until(|_, _| 0, |_, _| ended.load(Ordering::Relaxed))
    });
    let values = requests.iter().map(|(_, request)| request.value);
    assert!(
        values.eq(0..requests.len() as u64),
        "requests are out of order"
    );
    Outcome::Passed
}

/// A device model that writes random values to its request page affects at most its own VM (R11).
pub fn scribbled_page() -> Outcome {
    const WRITES: u32 = 20_000;
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::chatter(PORT));
    guest.vm.start().expect("START_VM");
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..WRITES {
                let value = number.wrapping_mul(0x9e37_79b9);
                let slot = guest.page.slot(value >> 8 & 15).expect("a slot");
                slot.fill(
                    value & 3,
                    value >> 2 & 3,
                    value.into(),
                    value.into(),
                    u64::MAX,
                );
                slot.set_state(value >> 4 & 7);
            }
            ended.store(true, Ordering::Relaxed);
        });
        while !ended.load(Ordering::Relaxed) {
            for vcpu in 0..16 {
                // The result depends on the values in the slot.
                let _ = guest.vm.notify_request_finish(vcpu);
            }
            let _ = guest.vm.clear_vm_ioreq();
        }
    });
    guest.vm.pause().expect("PAUSE_VM");
    guest
        .vm
        .destroy_ioreq_client()
        .expect("DESTROY_IOREQ_CLIENT");
    guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
    Outcome::Passed
}
