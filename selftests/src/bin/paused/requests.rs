// SPDX-License-Identifier: GPL-2.0

//! Tests of requests that are completed while the VM is paused. The driver completes them in
//! memory, and does not notify the hypervisor.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    eventfd::Eventfd,
    guest::Guest,
    harness::Outcome,
    hypercall::{DESTROY_VM, NOTIFY_REQUEST_FINISH, PAUSE_VM},
    need,
    probe::{Probe, fault},
    program::{Access, read, write},
    scripted_vm::{Answer, ScriptedVm, request},
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::port_guest::PortGuest;

const PORT: Target = Target::Port(0x510);
const DOORBELL: Target = Target::Memory(0xd000_0040);
const READ: Access = read(PORT, Width::Four);

fn notified(trace: &Trace<'_>) -> usize {
    trace.calls(NOTIFY_REQUEST_FINISH).len()
}

/// Pauses a guest that waits for a port access, and calls `finish` to complete the request. The
/// guest must not continue. The test then destroys the guest, or resets and serves it.
fn completed_by(finish: impl Fn(&Guest) -> Result<(), Errno>) -> Outcome {
    let cpus = need!(cpus::pick(1));
    for reset in [true, false] {
        let probe = Probe::open().ok();
        let trace = probe.as_ref().map(Trace::start);
        let guest = PortGuest::new(cpus, PortGuest::program());
        guest.pause();
        assert_eq!(finish(&guest), Ok(()));
        let slot = guest.page.slot(0).expect("slot 0");
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE);
        guest.assert_asleep();
        if let Some(trace) = &trace {
            assert_eq!(notified(trace), 0, "NOTIFY_REQUEST_FINISH of a paused VM");
        }
        if reset {
            guest.vm.reset().expect("RESET_VM");
            // If `finish` was DESTROY_IOREQ_CLIENT, there is no client.
            let created = guest.vm.create_ioreq_client();
            let created = created.map_err(|error| error.errno());
            assert!(matches!(created, Ok(()) | Err(libc::EEXIST)), "{created:?}");
            guest.start_again(PortGuest::program());
            let requests = guest.serve(1, |_, _| 7);
            assert_eq!(requests.len(), 1);
            if let Some(trace) = &trace {
                assert_eq!(notified(trace), 2, "after the reset");
                trace.assert_sane();
            }
        }
    }
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH of a paused VM completes the request, and does not resume the guest.
pub fn notify() -> Outcome {
    completed_by(|guest| {
        guest
            .vm
            .notify_request_finish(0)
            .map_err(|error| Errno::from_raw(error.errno()))
    })
}

/// CLEAR_VM_IOREQ of a paused VM completes the request, and does not resume the guest.
pub fn clear() -> Outcome {
    completed_by(|guest| Device::sharing(&guest.vm).plain(ACRN_IOCTL_CLEAR_VM_IOREQ))
}

/// DESTROY_IOREQ_CLIENT of a paused VM completes the request, and does not resume the guest.
pub fn destroy_client() -> Outcome {
    completed_by(|guest| Device::sharing(&guest.vm).plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT))
}

/// When the file is closed, the driver makes the hypercalls PAUSE_VM and DESTROY_VM, and no
/// hypercall between them.
pub fn close() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    for paused in [false, true] {
        let trace = Trace::start(&probe);
        let guest = PortGuest::new(cpus, PortGuest::program());
        if paused {
            guest.pause();
        }
        guest.close();
        assert_eq!(notified(&trace), 0);
        let ids = trace.ids();
        assert_eq!(ids[ids.len() - 2..], [PAUSE_VM, DESTROY_VM], "{ids:#x?}");
    }
    Outcome::Passed
}

/// If the hypervisor refuses to destroy the VM of a file that is closed, the VM stays paused.
pub fn close_refused() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let guest = PortGuest::new(cpus, PortGuest::program());
    let vmid = guest.vm.vmid();
    let trace = Trace::start(&probe);
    probe.push_fault(fault(DESTROY_VM, -1));
    guest.close();
    assert_eq!(notified(&trace), 0);
    assert!(probe.vm(vmid).is_some());
    // The driver destroys the orphan when it creates the next VM.
    drop(need!(ScriptedVm::new()));
    probe.assert_no_vms();
    Outcome::Passed
}

/// Raises a request of a vCPU of a paused VM. The driver completes the request itself.
fn completed_in_upcall(vm: &ScriptedVm, access: Access) {
    let trace = Trace::start(&vm.probe);
    assert_eq!(vm.probe.raise(request(vm.vmid, 0, access)), 0);
    let slot = vm.page.slot(0).expect("slot 0");
    // mini-ACRN takes COMPLETE requests whenever it is called.
    until("the driver completes the request", || {
        slot.state() == ACRN_IOREQ_STATE_COMPLETE
    });
    assert_eq!(notified(&trace), 0, "NOTIFY_REQUEST_FINISH of a paused VM");
}

/// The upcall completes requests of a paused VM: a write that signals an eventfd, and accesses to
/// the address register of PCI configuration space. After RESET_VM, the driver notifies the
/// hypervisor again.
pub fn upcall() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    vm.device
        .ioeventfd(&event, 0, 0xd000_0040, 4)
        .expect("IOEVENTFD");
    let accesses = [
        write(DOORBELL, Width::Four, 1),
        write(Target::Port(0xcf8), Width::Four, 0x8000_0000),
        read(Target::Port(0xcf8), Width::Four),
    ];
    for _ in 0..2 {
        vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        for access in accesses {
            completed_in_upcall(&vm, access);
        }
        assert_eq!(event.take(), 1);
        vm.device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
        for access in accesses {
            assert!(matches!(vm.ask(access), Answer::Driver(_)));
        }
        assert_eq!(event.take(), 1);
    }
    Outcome::Passed
}

/// The driver leaves a request that is raised while the VM is paused to the device model, like any
/// other request.
pub fn comes_late() -> Outcome {
    let vm = need!(ScriptedVm::new());
    vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&vm.probe);
    let slot = vm.page.slot(0).expect("slot 0");
    assert_eq!(vm.probe.raise(request(vm.vmid, 0, READ)), 0);
    until("the driver leaves the request to the device model", || {
        slot.is_ours()
    });
    assert_eq!(vm.device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT), Ok(()));
    assert_eq!(vm.finish(0), Ok(()));
    assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE);
    assert_eq!(notified(&trace), 0);
    assert_eq!(
        vm.finish(0),
        Err(Errno::EINVAL),
        "NOTIFY_REQUEST_FINISH of a completed request"
    );
    Outcome::Passed
}

/// PAUSE_VM, RESET_VM, START_VM and DESTROY_VM that fail while the VM is paused leave it paused.
pub fn failed_commands() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let slot = vm.page.slot(0).expect("slot 0");
    vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&vm.probe);
    for (command, hypercall) in [
        (ACRN_IOCTL_PAUSE_VM, PAUSE_VM),
        (ACRN_IOCTL_RESET_VM, acrn_selftests::hypercall::RESET_VM),
        (ACRN_IOCTL_START_VM, acrn_selftests::hypercall::START_VM),
        (ACRN_IOCTL_DESTROY_VM, DESTROY_VM),
    ] {
        vm.probe.push_fault(fault(hypercall, -5));
        let failed = vm.device.plain(command);
        assert_eq!(failed, Err(Errno::EIO), "{command:#x}");
        assert_eq!(vm.probe.raise(request(vm.vmid, 0, READ)), 0);
        until("the driver leaves the request to the device model", || {
            slot.is_ours()
        });
        assert_eq!(vm.finish(0), Ok(()), "after {command:#x}");
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE);
        assert_eq!(notified(&trace), 0, "after {command:#x}");
    }
    Outcome::Passed
}
