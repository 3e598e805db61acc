// SPDX-License-Identifier: GPL-2.0

//! Tests of requests that the device model cannot complete any more.
//!
//! The driver completes them as if there were no device. The tests check the values and widths of
//! reads, and that the driver does not notify a polling hypervisor.

use acrn_ioctls::{Slot, Target, Width};
use acrn_selftests::{
    cpus,
    harness::Outcome,
    need,
    program::{Access, read, write},
    scripted_vm::{ScriptedVm, polled, request},
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{
    ACRN_IOREQ_STATE_PENDING,
    ioctl::{
        ACRN_IOCTL_CLEAR_VM_IOREQ, ACRN_IOCTL_CREATE_IOREQ_CLIENT, ACRN_IOCTL_DESTROY_IOREQ_CLIENT,
    },
};

const PORT: Target = Target::Port(0x510);
const ADDRESS: Target = Target::Memory(0xd000_0040);

/// Accesses and their resulting values, as wide as the slot stores them.
const ACCESSES: [(Access, Option<u64>); 6] = [
    (read(ADDRESS, Width::Eight), Some(u64::MAX)),
    (read(ADDRESS, Width::Four), Some(u64::MAX)),
    (read(ADDRESS, Width::One), Some(u64::MAX)),
    (read(PORT, Width::Four), Some(0xffff_ffff)),
    (read(PORT, Width::One), Some(0xffff_ffff)),
    (write(ADDRESS, Width::Eight, 0x55), None),
];

/// Panics unless `end` completes each access. `end` runs when `ready` returns true for the slot.
fn check(vm: &ScriptedVm, ready: impl Fn(Slot<'_>) -> bool, end: impl Fn(&ScriptedVm)) {
    let slot = vm.page.slot(0).expect("slot 0");
    for (access, expected) in ACCESSES {
        let plain = request(vm.vmid, 0, access);
        for request in [plain, polled(plain)] {
            let trace = Trace::start(&vm.probe);
            assert_eq!(vm.probe.raise(request), 0);
            until("the request is ready for `end`", || ready(slot));
            end(vm);
            let answered = vm.answered(&trace, &request);
            assert_eq!(answered, expected, "{access:?}");
        }
    }
}

fn clear(vm: &ScriptedVm) {
    assert_eq!(vm.device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ), Ok(()));
}

/// DESTROY_IOREQ_CLIENT completes the requests of the ioreq client (A12).
pub fn destroy_client_reads_all_ones() -> Outcome {
    let vm = need!(ScriptedVm::new());
    check(
        &vm,
        |slot| slot.is_ours(),
        |vm| {
            for request in [
                ACRN_IOCTL_DESTROY_IOREQ_CLIENT,
                ACRN_IOCTL_CREATE_IOREQ_CLIENT,
            ] {
                assert_eq!(vm.device.plain(request), Ok(()));
            }
        },
    );
    Outcome::Passed
}

/// CLEAR_VM_IOREQ completes the requests of the ioreq client.
pub fn clear_reads_all_ones() -> Outcome {
    check(&need!(ScriptedVm::new()), |slot| slot.is_ours(), clear);
    Outcome::Passed
}

/// CLEAR_VM_IOREQ completes requests that wait for an ioreq client (A11).
pub fn clear_without_client() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    check(&vm, |slot| slot.state() == ACRN_IOREQ_STATE_PENDING, clear);
    Outcome::Passed
}
