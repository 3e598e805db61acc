// SPDX-License-Identifier: GPL-2.0

//! Tests of a polling hypervisor that frees a slot at the instant at which its request is COMPLETE.
//!
//! The hypervisor may use the slot for another request from then on. The driver must therefore
//! store the result before it makes the request COMPLETE, and must not read the slot afterwards.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    eventfd::Eventfd,
    harness::Outcome,
    hypercall::NOTIFY_REQUEST_FINISH,
    kernel_threads::KeptOn,
    need,
    program::{Access, read, write},
    scripted_vm::{ScriptedVm, polled, request},
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{ACRN_IOREQ_STATE_FREE, ioctl::*};

use crate::budget::BACKLOG;

const PORT: Target = Target::Port(0x510);
const MEMORY: Target = Target::Memory(0xd000_0040);
const DOORBELL: u64 = 0xd000_0080;
const CONFIG_ADDRESS: Target = Target::Port(0xcf8);

/// The cause of the request's completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    /// The driver completes the request in the upcall.
    Upcall,
    /// The device model makes NOTIFY_REQUEST_FINISH.
    DeviceModel,
    /// The device model makes CLEAR_VM_IOREQ.
    Clear,
    /// The device model makes DESTROY_IOREQ_CLIENT.
    DestroyClient,
}

fn end(vm: &ScriptedVm, by: By) {
    let plain = |number| assert_eq!(vm.device.plain(number), Ok(()), "{by:?}");
    match by {
        By::Upcall => {}
        By::DeviceModel => assert_eq!(vm.finish(0), Ok(())),
        By::Clear => plain(ACRN_IOCTL_CLEAR_VM_IOREQ),
        By::DestroyClient => {
            plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT);
            plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT);
        }
    }
}

/// The driver stores the value of a read in time. It does not notify the hypervisor, although the
/// slot requests a notification by then.
pub fn taken_at_once() -> Outcome {
    // Only writes by this CPU are certain to be noticed. If the machine stops during the upcall,
    // the thread serves the next requests.
    need!(cpus::stay_on(cpus::UPCALLS));
    let _thread = KeptOn::cpu(cpus::UPCALLS, BACKLOG);
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    let assigned = vm.device.ioeventfd(&event, 0, DOORBELL, 8);
    assert_eq!(assigned, Ok(()), "IOEVENTFD");
    let slot = vm.page.slot(0).expect("slot 0");
    let doorbell = Target::Memory(DOORBELL);
    // The device model does not change the value that the hypervisor stored in the slot.
    let unanswered = Some(0x5555_5555);
    let cases: [(By, Access, Option<u64>); 9] = [
        (By::Upcall, write(CONFIG_ADDRESS, Width::Four, 0x1234), None),
        (By::Upcall, read(CONFIG_ADDRESS, Width::Four), Some(0x1234)),
        (By::Upcall, write(doorbell, Width::Eight, 1), None),
        (By::Upcall, read(doorbell, Width::Eight), Some(0)),
        (By::DeviceModel, read(PORT, Width::Four), unanswered),
        (By::Clear, read(MEMORY, Width::Eight), Some(u64::MAX)),
        (By::Clear, write(PORT, Width::Four, 1), None),
        (
            By::DestroyClient,
            read(PORT, Width::Four),
            Some(0xffff_ffff),
        ),
        (
            By::DestroyClient,
            read(MEMORY, Width::Eight),
            Some(u64::MAX),
        ),
    ];
    for (by, access, expected) in cases {
        let request = polled(request(vm.vmid, 0, access));
        let trace = Trace::start(&vm.probe);
        vm.probe.take_at_once(vm.vmid, 0);
        assert_eq!(vm.probe.raise(request), 0);
        if by != By::Upcall {
            until("the device model has the request", || slot.is_ours());
        }
        end(&vm, by);
        until("the hypervisor frees the slot", || {
            slot.state() == ACRN_IOREQ_STATE_FREE
        });
        let consumed = vm.consumed(&trace, &request);
        assert_eq!(consumed, Some(expected), "{by:?}, {access:?}");
        let notified = trace.calls(NOTIFY_REQUEST_FINISH).len();
        assert_eq!(notified, 0, "NOTIFY_REQUEST_FINISH, {by:?}, {access:?}");
    }
    assert_eq!(event.take(), 1);
    Outcome::Passed
}
