// SPDX-License-Identifier: GPL-2.0

//! Tests of hypercalls that fail.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    harness::Outcome,
    hypercall, need,
    probe::fault,
    program::write,
    scripted_vm::{Answer, ScriptedVm, request},
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{ACRN_IOREQ_STATE_COMPLETE, acrn_vcpu_regs, ioctl::*};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

const ERRORS: [Errno; 5] = [
    Errno::EPERM,
    Errno::EIO,
    Errno::EINVAL,
    Errno::ENOTTY,
    Errno::EBUSY,
];

/// Makes the next hypercall `id` for the VM fail with `errno`, without any effect.
fn fail_next(vm: &ScriptedVm, id: u32, errno: Errno) {
    vm.probe.push_fault(Fault {
        vmid: vm.vmid,
        ..fault(id, -i64::from(errno as i32))
    });
}

/// Each command passes on any error of the hypervisor.
pub fn errors_passed_on() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let mut registers = acrn_vcpu_regs::default();
    registers.vcpu_regs.cr0 = 0x30;
    let mut set = || vm.device.with(ACRN_IOCTL_SET_VCPU_REGS, &mut registers);
    for errno in ERRORS {
        for (request, id) in [
            (ACRN_IOCTL_START_VM, hypercall::START_VM),
            (ACRN_IOCTL_PAUSE_VM, hypercall::PAUSE_VM),
            (ACRN_IOCTL_RESET_VM, hypercall::RESET_VM),
        ] {
            fail_next(&vm, id, errno);
            assert_eq!(vm.device.plain(request), Err(errno), "{request:#x}");
        }
        fail_next(&vm, hypercall::SET_VCPU_REGS, errno);
        assert_eq!(set(), Err(errno), "SET_VCPU_REGS");
    }
    assert_eq!(set(), Ok(()));
    for request in [ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM] {
        assert_eq!(vm.device.plain(request), Ok(()), "{request:#x}");
    }
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH passes on the hypervisor's error, and completes the request nevertheless.
pub fn notify_errors_passed_on() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let slot = vm.page.slot(0).expect("slot 0");
    let access = write(Target::Port(0x510), Width::One, 0);
    for errno in ERRORS {
        let trace = Trace::start(&vm.probe);
        fail_next(&vm, hypercall::NOTIFY_REQUEST_FINISH, errno);
        assert_eq!(vm.probe.raise(request(vm.vmid, 0, access)), 0);
        until("the device model has the request", || slot.is_ours());
        assert_eq!(vm.finish(0), Err(errno));
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE);
        assert_eq!(trace.calls(hypercall::NOTIFY_REQUEST_FINISH).len(), 1);
    }
    assert_eq!(vm.ask(access), Answer::DeviceModel);
    Outcome::Passed
}

/// Negative results out of the range of errno become `EIO`, and positive results are success.
/// ACRN's results are 32 bits wide.
pub fn results_of_any_size() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let pause = |result: i64| {
        vm.probe.push_fault(Fault {
            vmid: vm.vmid,
            ..fault(hypercall::PAUSE_VM, result)
        });
        vm.device.plain(ACRN_IOCTL_PAUSE_VM)
    };
    for success in [1, 5, i64::from(i32::MAX)] {
        assert_eq!(pause(success), Ok(()), "{success}");
    }
    for strange in [-4096, -100_000, i64::from(i32::MIN), i64::MIN + 22] {
        assert_eq!(pause(strange), Err(Errno::EIO), "{strange}");
    }
    assert_eq!(pause(-133), Err(Errno::EHWPOISON));
    Outcome::Passed
}
