// SPDX-License-Identifier: GPL-2.0

//! Tests of the lifetime of ranges, and of the release of eventfds at its end. The harness checks
//! that VMs leave nothing behind.

use std::{sync::mpsc, thread};

use acrn_ioctls::{IoEvent, Width};
use acrn_selftests::{
    cpus,
    eventfd::{Eventfd, until_released},
    guest::{Guest, doorbell},
    harness::{self, Outcome},
    hypercall::{NOTIFY_REQUEST_FINISH, PAUSE_VM},
    leaks::{Snapshot, module_users},
    need,
    probe::Probe,
    program::{self, read, write},
    scripted_vm::{Answer, ScriptedVm, request},
    trace::Trace,
    waiter::until,
};
use acrn_uapi::ioctl::*;

use crate::range::{ADDRESS, PORT, assign, assigned, range};

const CHATTER: IoEvent = doorbell(0x510);

/// Assigns two ranges to each of ten new eventfds.
fn fill(vm: &ScriptedVm) -> Vec<Eventfd> {
    let events = (0..10).map(|_| assigned(&vm.device, range(PORT, 4)));
    let events: Vec<_> = events.collect();
    for event in &events {
        assign(&vm.device, event, range(ADDRESS, 4)).expect("IOEVENTFD");
    }
    events
}

fn ids(events: &[Eventfd]) -> Vec<u32> {
    events.iter().map(Eventfd::id).collect()
}

fn destroy(vm: &ScriptedVm) {
    vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    vm.device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
}

/// DESTROY_VM releases the eventfds.
pub fn destroy_releases() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let users = module_users();
    let events = fill(&vm);
    let ids = ids(&events);
    assert_eq!(module_users(), users);
    drop(events);
    destroy(&vm);
    until_released(&ids);
    assert_eq!(module_users(), users);
    Outcome::Passed
}

/// Closing the file releases the eventfds, whether the hypervisor destroys the VM or not (A1).
pub fn close_releases() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let ids = ids(&fill(&vm));
    let Some(device) = std::sync::Arc::into_inner(vm.device) else {
        panic!("the device is still shared");
    };
    device.close();
    until_released(&ids);
    Outcome::Passed
}

/// DEASSIGN releases the eventfd. Until then, signals to a closed eventfd have no effect.
pub fn deassign_releases() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(PORT, 4));
    let duplicate = event.duplicate();
    let id = event.id();
    drop(event);
    assert_eq!(vm.ask(write(PORT, Width::Four, 0)), Answer::Driver(None));
    assert_eq!(duplicate.take(), 1);
    crate::range::deassign(&vm.device, &duplicate, range(PORT, 4)).expect("DEASSIGN");
    drop(duplicate);
    until_released(&[id]);

    let closed = assigned(&vm.device, range(PORT, 4));
    drop(closed);
    for value in 0..3 {
        assert_eq!(
            vm.ask(write(PORT, Width::Four, value)),
            Answer::Driver(None)
        );
    }
    Outcome::Passed
}

/// DEASSIGN does not affect an unrelated eventfd that reuses a closed descriptor (A16).
pub fn reused_descriptor() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let first = assigned(&vm.device, range(PORT, 4));
    let other = Eventfd::new();
    let first = other.duplicate_onto(first);
    let deassigned = crate::range::deassign(&vm.device, &first, range(PORT, 4));
    assert_eq!(deassigned, Ok(()));
    assign(&vm.device, &first, range(PORT, 4)).expect("IOEVENTFD");
    assert_eq!(vm.ask(write(PORT, Width::Four, 0)), Answer::Driver(None));
    assert_eq!(other.take(), 1);
    Outcome::Passed
}

/// RESET_VM keeps the ranges.
pub fn reset_keeps() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(PORT, 4));
    for _ in 0..2 {
        for request in [
            ACRN_IOCTL_PAUSE_VM,
            ACRN_IOCTL_CLEAR_VM_IOREQ,
            ACRN_IOCTL_RESET_VM,
        ] {
            vm.device.plain(request).expect("PAUSE_VM or RESET_VM");
        }
        assert_eq!(vm.ask(write(PORT, Width::Four, 0)), Answer::Driver(None));
        assert_eq!(event.take(), 1);
    }
    Outcome::Passed
}

/// DESTROY_IOREQ_CLIENT keeps the ranges.
pub fn client_goes() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(PORT, 4));
    vm.device
        .plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
        .expect("DESTROY_IOREQ_CLIENT");
    assert_eq!(vm.ask(write(PORT, Width::Four, 0)), Answer::Driver(None));
    assert_eq!(event.take(), 1);
    Outcome::Passed
}

/// The next VM of a file has no ranges (A2).
pub fn next_vm_has_none() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let mut vm = need!(ScriptedVm::on(cpus));
    let event = assigned(&vm.device, range(PORT, 4));
    destroy(&vm);
    let created = vm.device.create(&vm.page, cpus).expect("CREATE_VM");
    vm.vmid = created.vmid;
    vm.device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    assert_eq!(vm.ask(write(PORT, Width::Four, 0)), Answer::DeviceModel);
    assert_eq!(event.take(), 0);
    destroy(&vm);
    Outcome::Passed
}

/// DESTROY_VM of one VM does not return before the end of an upcall that handles the write of
/// another VM.
///
/// The upcall iterates over all VMs. The trace shows the order.
pub fn destroy_waits_for_upcall() -> Outcome {
    const IN_FLIGHT_MS: u16 = 1500;
    let masks = need!(cpus::pick_many(&[1, 1]));
    let writer = need!(ScriptedVm::on(masks[0]));
    let other = need!(ScriptedVm::on(masks[1]));
    let event = assigned(&writer.device, range(PORT, 4));
    other.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    // The upcall runs on CPU 0.
    need!(cpus::stay_on(1));
    let (sender, receiver) = mpsc::channel();
    let (device, vmid) = (other.device.clone(), other.vmid);
    let marker = need!(Probe::open());
    let destroyer = thread::spawn(move || {
        receiver
            .recv()
            .expect("wait until the upcall is in progress");
        let destroyed = device.plain(ACRN_IOCTL_DESTROY_VM);
        // The VM does not exist any more, so this hypercall only marks a position in the trace.
        marker.call(PAUSE_VM, vmid.into(), 0);
        destroyed
    });
    let probe = &writer.probe;
    let trace = Trace::start(probe);
    probe.hold_for(NOTIFY_REQUEST_FINISH, writer.vmid, IN_FLIGHT_MS);
    let access = write(PORT, Width::Four, 0);
    assert_eq!(probe.raise(request(writer.vmid, 0, access)), 0);
    until("the upcall is in progress or has ended", || {
        probe.is_held() || !trace.calls(NOTIFY_REQUEST_FINISH).is_empty()
    });
    sender.send(()).expect("send to the waiting thread");
    until("DESTROY_VM returns", || destroyer.is_finished());
    assert_eq!(destroyer.join().expect("join the thread"), Ok(()));
    until("the write signals the eventfd", || event.take() == 1);
    let ids = trace.ids();
    let at = |id| ids.iter().position(|known| *known == id);
    let [upcall, return_] = [NOTIFY_REQUEST_FINISH, PAUSE_VM].map(at);
    assert!(
        upcall < return_,
        "DESTROY_VM returned before the upcall ended"
    );
    Outcome::Passed
}

fn writing_guest() -> Result<(Guest, Eventfd), String> {
    let guest = Guest::long_mode(cpus::pick(1)?, &program::chatter(0x510));
    let event = Eventfd::new();
    guest
        .vm
        .assign_ioeventfd(&event, &CHATTER)
        .expect("IOEVENTFD");
    guest.vm.start().expect("START_VM");
    until("the guest writes", || event.take() > 0);
    Ok((guest, event))
}

/// PAUSE_VM and DESTROY_VM succeed while the guest writes to an ioeventfd.
pub fn destroy_while_writing() -> Outcome {
    let (guest, event) = need!(writing_guest());
    let id = event.id();
    drop(event);
    guest.vm.pause().expect("PAUSE_VM");
    drop(guest);
    until_released(&[id]);
    Outcome::Passed
}

/// Closing the file while the guest writes to an ioeventfd leaves nothing behind (A1).
pub fn close_while_writing() -> Outcome {
    let before = Snapshot::take();
    let (guest, event) = need!(writing_guest());
    let id = event.id();
    guest.close();
    assert_eq!(before.leaks(), [""; 0]);
    event.take();
    // When the driver has served this upcall, it has served all earlier ones, too.
    let vm = need!(ScriptedVm::new());
    assert_eq!(vm.ask(read(PORT, Width::Four)), Answer::DeviceModel);
    assert_eq!(
        event.take(),
        0,
        "signals of the VM after its file was closed"
    );
    drop(event);
    until_released(&[id]);
    Outcome::Passed
}

/// SIGKILL while the guest writes to an ioeventfd leaves nothing behind (A1).
pub fn killed_while_writing() -> Outcome {
    let before = Snapshot::take();
    let mut victim = need!(harness::start(harness::helper("victim")));
    victim.kill().expect("SIGKILL");
    victim.wait().expect("wait for the victim");
    assert_eq!(before.leaks(), [""; 0]);
    if let Ok(probe) = Probe::open() {
        probe.assert_no_vms();
    }
    Outcome::Passed
}

/// The process that [`killed_while_writing`] kills.
pub fn victim() -> Outcome {
    let (guest, _event) = need!(writing_guest());
    harness::ready();
    let ended = guest.vm.attach_ioreq_client();
    panic!("ATTACH_IOREQ_CLIENT: {ended:?}");
}
