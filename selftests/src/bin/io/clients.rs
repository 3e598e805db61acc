// SPDX-License-Identifier: GPL-2.0

//! Tests of ioreq clients that are created and destroyed while vCPUs wait.

use std::{thread, time::Duration};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    eventfd::Eventfd,
    guest::Guest,
    harness::Outcome,
    need,
    probe::Probe,
    program::{self, DONE_PORT, read, write},
    scripted_vm::{ScriptedVm, polled, request},
    trace::Trace,
    waiter::{Waiter, until},
};
use acrn_uapi::{
    ACRN_IOEVENTFD_FLAG_PIO, ACRN_IOREQ_STATE_FREE, ACRN_IOREQ_STATE_PENDING,
    ACRN_IOREQ_STATE_PROCESSING, ioctl::*,
};
use nix::errno::Errno;

const PORT: Target = Target::Port(0x510);
/// Loads a program that reads a port and stores the value.
fn reader(guest: &Guest) {
    guest.load_long_mode(&program::long_mode(&[read(PORT, Width::Four)]));
}

/// Returns EAX after the read, as stored by the program.
fn stored(guest: &Guest) -> u32 {
    guest.memory.read(program::RESULTS as usize)
}

/// A request of a vCPU that has no ioreq client stays PENDING (A11).
pub fn request_before_client() -> Outcome {
    let guest = Guest::without_client(need!(cpus::pick(1)));
    reader(&guest);
    guest.vm.start().expect("START_VM");
    let slot = guest.page.slot(0).expect("slot 0");
    // The state changes from FREE to PENDING. Without a client, it does not change further.
    until("the guest makes a request", || {
        slot.state() != ACRN_IOREQ_STATE_FREE
    });
    thread::sleep(Duration::from_millis(50));
    guest.vm.create_ioreq_client().expect("CREATE_IOREQ_CLIENT");
    let requests = guest.serve(1, |_, _| 0x77);
    assert_eq!(requests.len(), 1);
    assert_eq!(stored(&guest), 0x77);
    Outcome::Passed
}

/// DESTROY_IOREQ_CLIENT completes the client's request, and the vCPU continues as if there were no
/// device at the port (A12).
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
    // The next request of the vCPU reports that the program has ended.
    guest.serve(1, |_, _| 0);
    assert_eq!(stored(&guest), 0xffff_ffff);
    if let Some(trace) = trace {
        trace.assert_sane();
    }
    Outcome::Passed
}

/// CLEAR_VM_IOREQ completes the requests that the device model has not completed.
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

/// An ioreq client that is created after the destruction of another one receives the requests.
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

/// ATTACH_IOREQ_CLIENT returns at once while the device model has a request that it has not
/// completed.
pub fn attach_returns_while_unserved() -> Outcome {
    let guest = Guest::new(need!(cpus::pick(1)));
    reader(&guest);
    guest.vm.start().expect("START_VM");
    for _ in 0..3 {
        guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    }
    let requests = guest.serve_until(
        |_, _| 1,
        |_, request| request.target == Target::Port(DONE_PORT),
    );
    assert_eq!(requests.len(), 1);
    Outcome::Passed
}

/// Each request wakes a waiting thread, even if another thread is working on an earlier request.
pub fn each_request_wakes_a_thread() -> Outcome {
    const VCPUS: u16 = 3;
    let vm = need!(ScriptedVm::on(need!(cpus::pick(VCPUS.into()))));
    for _ in 0..3 {
        let mut waiters: Vec<_> = (0..VCPUS).map(|_| Waiter::start(&vm.device)).collect();
        for vcpu in 0..VCPUS {
            let request = request(vm.vmid, vcpu, read(PORT, Width::Four));
            assert_eq!(vm.probe.raise(request), 0);
            let left = waiters.len() - 1;
            until("a thread returns from ATTACH_IOREQ_CLIENT", || {
                waiters.iter().filter(|waiter| waiter.waits()).count() == left
            });
            let ended = waiters.iter().position(|waiter| !waiter.waits());
            let waiter = waiters.remove(ended.expect("the index of a thread that returned"));
            assert_eq!(waiter.result(), Ok(()));
        }
        for vcpu in 0..VCPUS {
            assert_eq!(vm.finish(vcpu.into()), Ok(()));
        }
    }
    Outcome::Passed
}

/// A request that CLEAR_VM_IOREQ completed does not belong to the device model any more, and wakes
/// no thread.
///
/// A late NOTIFY_REQUEST_FINISH fails. It affects neither the next request of the vCPU nor a
/// request that a polling hypervisor has not consumed yet (A13).
pub fn cleared_request_is_gone() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let slot = vm.page.slot(0).expect("slot 0");
    let plain = request(vm.vmid, 0, read(PORT, Width::Four));
    for request in [plain, polled(plain), plain] {
        assert_eq!(vm.probe.raise(request), 0);
        until("the device model has the request", || slot.is_ours());
        assert_eq!(vm.device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ), Ok(()));
        let late = vm.finish(0);
        assert_eq!(late, Err(Errno::EINVAL), "NOTIFY_REQUEST_FINISH");
        let waiter = Waiter::start(&vm.device);
        assert_eq!(vm.probe.raise(plain), 0);
        assert_eq!(waiter.result(), Ok(()));
        assert_eq!(vm.finish(0), Ok(()));
    }
    Outcome::Passed
}

/// A new ioeventfd at once completes a request that waits for an ioreq client. An ioeventfd for
/// another address does not affect it.
pub fn ioeventfd_takes_waiting_request() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    let slot = vm.page.slot(0).expect("slot 0");
    let assign = |event: &Eventfd, addr| {
        let assigned = vm.device.ioeventfd(event, ACRN_IOEVENTFD_FLAG_PIO, addr, 4);
        assert_eq!(assigned, Ok(()), "IOEVENTFD");
    };
    let (elsewhere, event) = (Eventfd::new(), Eventfd::new());
    let waits = request(vm.vmid, 0, write(PORT, Width::Four, 1));
    assert_eq!(vm.probe.raise(waits), 0);
    assign(&elsewhere, 0x520);
    assert_eq!(slot.state(), ACRN_IOREQ_STATE_PENDING);
    let trace = Trace::start(&vm.probe);
    assign(&event, 0x510);
    assert_eq!(event.take(), 1);
    assert_eq!(elsewhere.take(), 0);
    assert_eq!(vm.answered(&trace, &waits), None);
    Outcome::Passed
}

/// DESTROY_IOREQ_CLIENT completes the requests of all vCPUs that wait, even if the next client is
/// created at once.
pub fn destroy_client_frees_each_vcpu() -> Outcome {
    const VCPUS: u16 = 3;
    let vm = need!(ScriptedVm::on(need!(cpus::pick(VCPUS.into()))));
    let slots = || (0..u32::from(VCPUS)).filter_map(|vcpu| vm.page.slot(vcpu));
    for _ in 0..3 {
        let trace = Trace::start(&vm.probe);
        for vcpu in 0..VCPUS {
            let request = request(vm.vmid, vcpu, read(PORT, Width::Four));
            assert_eq!(vm.probe.raise(request), 0);
        }
        until("the device model has the requests", || {
            slots().all(|slot| slot.is_ours())
        });
        for request in [
            ACRN_IOCTL_DESTROY_IOREQ_CLIENT,
            ACRN_IOCTL_CREATE_IOREQ_CLIENT,
        ] {
            assert_eq!(vm.device.plain(request), Ok(()));
        }
        assert!(slots().all(|slot| slot.state() == ACRN_IOREQ_STATE_FREE));
        for vcpu in 0..VCPUS {
            assert_eq!(vm.finish(vcpu.into()), Err(Errno::EINVAL));
        }
        trace.assert_sane();
    }
    Outcome::Passed
}
