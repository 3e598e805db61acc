// SPDX-License-Identifier: GPL-2.0

//! Tests of requests that the driver completes itself. It notifies the vCPU, and the device model
//! is not involved.

use std::{thread, time::Duration};

use acrn_ioctls::Width;
use acrn_selftests::{
    cpus,
    harness::Outcome,
    hypercall::NOTIFY_REQUEST_FINISH,
    need,
    program::{read, write},
    scripted_vm::{Answer, ScriptedVm, polled, request},
    trace::Trace,
    waiter::Waiter,
};
use acrn_uapi::ACRN_IOREQ_STATE_PENDING;
use mini_acrn_channel::kind;

use crate::range::{ADDRESS, PORT, assigned, range};

/// The driver notifies the vCPU of each request once.
pub fn one_notification_each() -> Outcome {
    let vm = need!(ScriptedVm::on(need!(cpus::pick(2))));
    let event = assigned(&vm.device, range(PORT, 4));
    let trace = Trace::start(&vm.probe);
    for round in 0..20 {
        let access = match round % 3 {
            0 => read(PORT, Width::Four),
            _ => write(PORT, Width::Four, round),
        };
        vm.raise(request(vm.vmid, (round % 2) as u16, access));
    }
    assert_eq!(trace.events(kind::REQUEST_PENDING).len(), 20);
    let notified = trace.calls(NOTIFY_REQUEST_FINISH);
    let completed: Vec<_> = notified
        .iter()
        .map(|record| (record.p1, record.p2, record.result))
        .collect();
    let expected: Vec<_> = (0..20)
        .map(|round| (u64::from(vm.vmid), round % 2, 0))
        .collect();
    assert_eq!(completed, expected);
    // The driver made no other hypercalls.
    let others = trace.events(kind::HYPERCALL);
    assert_eq!(others.len(), notified.len(), "hypercalls");
    assert_eq!(event.take(), 13);
    Outcome::Passed
}

/// The driver does not notify a hypervisor that polls the slot.
pub fn completion_polling() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(ADDRESS, 8));
    let trace = Trace::start(&vm.probe);
    for access in [
        write(ADDRESS, Width::Eight, 1),
        read(ADDRESS, Width::Eight),
        write(ADDRESS, Width::Two, 1),
    ] {
        let answer = vm.raise(polled(request(vm.vmid, 0, access)));
        let expected = access.value.map_or(Some(0), |_| None);
        assert_eq!(answer, Answer::Driver(expected));
    }
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 0);
    assert_eq!(event.take(), 2);
    Outcome::Passed
}

/// ATTACH_IOREQ_CLIENT does not return for requests that the driver completes.
pub fn device_model_sleeps() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(PORT, 4));
    let waiter = Waiter::start(&vm.device);
    for _ in 0..10 {
        vm.ask(write(PORT, Width::Four, 0));
        vm.ask(read(PORT, Width::One));
    }
    thread::sleep(Duration::from_millis(50));
    assert!(waiter.waits(), "ATTACH_IOREQ_CLIENT returned");
    assert_eq!(event.take(), 10);
    // It returns for a request to the device model.
    let unassigned = request(vm.vmid, 0, read(ADDRESS, Width::Four));
    assert_eq!(vm.probe.raise(unassigned), 0);
    assert_eq!(waiter.result(), Ok(()));
    assert_eq!(vm.finish(0), Ok(()));
    Outcome::Passed
}

/// The driver completes requests of a VM that has no ioreq client.
pub fn without_client() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    let event = assigned(&vm.device, range(PORT, 4));
    let answer = vm.ask(write(PORT, Width::Four, 0));
    assert_eq!(answer, Answer::Driver(None));
    assert_eq!(event.take(), 1);
    Outcome::Passed
}

/// The driver completes the writes of a vCPU while another vCPU waits for the device model.
pub fn beside_the_device_model() -> Outcome {
    let vm = need!(ScriptedVm::on(need!(cpus::pick(2))));
    let event = assigned(&vm.device, range(PORT, 4));
    let slow = request(vm.vmid, 0, read(ADDRESS, Width::Four));
    assert_eq!(vm.probe.raise(slow), 0);
    for _ in 0..5 {
        let fast = request(vm.vmid, 1, write(PORT, Width::Four, 0));
        assert_eq!(vm.raise(fast), Answer::Driver(None));
    }
    assert_eq!(event.take(), 5);
    let slot = vm.page.slot(0).expect("slot 0");
    assert!(slot.is_ours(), "state {}", slot.state());
    assert_eq!(vm.finish(0), Ok(()));
    Outcome::Passed
}

/// The driver completes the writes of a vCPU while the request of another vCPU waits for an ioreq
/// client (A11).
pub fn behind_a_request_without_client() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(2))));
    let event = assigned(&vm.device, range(PORT, 4));
    let slot = vm.page.slot(0).expect("slot 0");
    let waits = request(vm.vmid, 0, read(ADDRESS, Width::Four));
    assert_eq!(vm.probe.raise(waits), 0);
    for _ in 0..5 {
        let fast = request(vm.vmid, 1, write(PORT, Width::Four, 0));
        assert_eq!(vm.raise(fast), Answer::Driver(None));
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_PENDING);
    }
    assert_eq!(event.take(), 5);
    Outcome::Passed
}

/// The driver examines a write that waits for an ioreq client again when an ioeventfd is assigned.
pub fn assigned_while_pending() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    let access = request(vm.vmid, 0, write(PORT, Width::Four, 0));
    let trace = Trace::start(&vm.probe);
    assert_eq!(vm.probe.raise(access), 0);
    let slot = vm.page.slot(0).expect("slot 0");
    let other = assigned(&vm.device, range(ADDRESS, 4));
    assert_eq!(slot.state(), ACRN_IOREQ_STATE_PENDING);
    let event = assigned(&vm.device, range(PORT, 4));
    assert_eq!(event.take(), 1, "signals for the waiting write");
    assert_eq!(vm.answered(&trace, &access), None);
    assert_eq!(other.take(), 0);
    Outcome::Passed
}
