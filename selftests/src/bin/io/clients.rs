// SPDX-License-Identifier: GPL-2.0

//! Clients come and go while vCPUs wait.

use std::{os::fd::AsRawFd, thread, time::Duration};

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
    ACRN_IOREQ_STATE_PROCESSING, acrn_ioeventfd, ioctl::*,
};
use nix::errno::Errno;

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

/// A thread that has a request, and takes its time, keeps none from another thread: each request wakes one that waits.
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
            let waiter = waiters.remove(ended.expect("one that returned"));
            assert_eq!(waiter.result(), Ok(()));
        }
        for vcpu in 0..VCPUS {
            assert_eq!(vm.finish(vcpu.into()), Ok(()));
        }
    }
    Outcome::Passed
}

/// A request that CLEAR_VM_IOREQ answered is not the device model's any more: no thread wakes up for it. A late answer
/// does not meet the next request of the vCPU, nor one that a polling hypervisor has not taken yet (A13).
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

/// A request that waits for a client is taken by an ioeventfd that comes, at once; one that means another place leaves it
/// there.
pub fn ioeventfd_takes_waiting_request() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    let slot = vm.page.slot(0).expect("slot 0");
    let assign = |event: &Eventfd, addr| {
        let mut argument = acrn_ioeventfd {
            fd: event.as_raw_fd() as u32,
            flags: ACRN_IOEVENTFD_FLAG_PIO,
            addr,
            len: 4,
            ..Default::default()
        };
        let assigned = vm.device.with(ACRN_IOCTL_IOEVENTFD, &mut argument);
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

/// A client that goes while several vCPUs wait answers each of them, also when the next client is there at once.
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
