// SPDX-License-Identifier: GPL-2.0

//! Tests of invalid arguments. IOEVENTFD refuses them without a hypercall.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    device::Device,
    eventfd::{Eventfd, each_bad_descriptor},
    harness::Outcome,
    need,
    program::write,
    scripted_vm::{Answer, ScriptedVm},
    trace::Trace,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::range::{ADDRESS, ASYNC, PORT, assign, assigned, deassign, ioeventfd, range};

const DEASSIGN: u32 = ACRN_IOEVENTFD_FLAG_DEASSIGN;

/// Panics if the VM has an ioeventfd at [`PORT`].
#[track_caller]
fn assert_nothing_assigned(vm: &ScriptedVm) {
    let answer = vm.ask(write(PORT, Width::One, 0));
    assert_eq!(
        answer,
        Answer::DeviceModel,
        "answer to a write to {PORT:x?}"
    );
}

/// IOEVENTFD fails with `EINVAL` before CREATE_VM and after DESTROY_VM.
pub fn without_vm() -> Outcome {
    let event = Eventfd::new();
    let device = need!(Device::open());
    assert_eq!(assign(&device, &event, range(PORT, 4)), Err(Errno::EINVAL));
    let vm = need!(ScriptedVm::new());
    vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    vm.device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    let device = &vm.device;
    assert_eq!(assign(device, &event, range(PORT, 4)), Err(Errno::EINVAL));
    assert_eq!(deassign(device, &event, range(PORT, 4)), Err(Errno::EINVAL));
    Outcome::Passed
}

/// IOEVENTFD refuses unknown flags (A18).
pub fn unknown_flags() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    let trace = Trace::start(&vm.probe);
    for flag in (4..32).map(|bit| 1 << bit) {
        for known in [0, DEASSIGN] {
            let mut argument = range(PORT, 4).argument(&event);
            argument.flags |= flag | known;
            let refused = ioeventfd(&vm.device, argument);
            assert_eq!(refused, Err(Errno::EINVAL), "flags {:#x}", argument.flags);
        }
    }
    trace.assert_no_hypercalls();
    assert_nothing_assigned(&vm);
    Outcome::Passed
}

/// IOEVENTFD ignores a flag of ACRN's own kernel that acrn-dm sets in all requests.
pub fn async_flag_is_ignored() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    for target in [PORT, ADDRESS] {
        let mut argument = range(target, 4).argument(&event);
        argument.flags |= ASYNC;
        ioeventfd(&vm.device, argument).expect("IOEVENTFD");
        let answer = vm.ask(write(target, Width::Four, 1));
        assert_eq!(answer, Answer::Driver(None));
        assert_eq!(event.take(), 1);
        argument.flags |= DEASSIGN;
        ioeventfd(&vm.device, argument).expect("IOEVENTFD");
        let answer = vm.ask(write(target, Width::Four, 1));
        assert_eq!(answer, Answer::DeviceModel);
    }
    Outcome::Passed
}

/// IOEVENTFD refuses a reserved field that is not zero.
pub fn reserved_field() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(ADDRESS, 4));
    for reserved in [1, 0x8000_0000, u32::MAX] {
        for (target, flags) in [(PORT, 0), (ADDRESS, DEASSIGN)] {
            let mut argument = range(target, 4).argument(&event);
            argument.reserved = reserved;
            argument.flags |= flags;
            let refused = ioeventfd(&vm.device, argument);
            assert_eq!(refused, Err(Errno::EINVAL), "{argument:?}");
        }
    }
    assert_nothing_assigned(&vm);
    let answer = vm.ask(write(ADDRESS, Width::Four, 0));
    assert_eq!(answer, Answer::Driver(None));
    assert_eq!(event.take(), 1);
    Outcome::Passed
}

/// IOEVENTFD refuses invalid lengths.
pub fn lengths() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    for len in [0, 3, 5, 6, 7, 9, 16, 0x100, 0x8000_0001, u32::MAX] {
        let refused = assign(&vm.device, &event, range(PORT, len));
        assert_eq!(refused, Err(Errno::EINVAL), "{len} bytes");
    }
    assert_nothing_assigned(&vm);
    Outcome::Passed
}

/// IOEVENTFD refuses ranges that extend beyond the last address, and accepts a range that ends
/// there.
pub fn wrapping_ranges() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    for (address, len) in [
        (u64::MAX, 1),
        (u64::MAX, 8),
        (u64::MAX - 3, 4),
        (u64::MAX - 6, 8),
    ] {
        let wrapping = range(Target::Memory(address), len);
        let refused = assign(&vm.device, &event, wrapping);
        assert_eq!(refused, Err(Errno::EINVAL), "{wrapping:x?}");
    }
    let last = Target::Memory(u64::MAX - 8);
    assign(&vm.device, &event, range(last, 8)).expect("IOEVENTFD");
    let answer = vm.ask(write(last, Width::Eight, 0));
    assert_eq!(answer, Answer::Driver(None));
    assert_eq!(event.take(), 1);
    Outcome::Passed
}

/// IOEVENTFD refuses descriptors that are not open or do not refer to an eventfd.
pub fn descriptors() -> Outcome {
    let vm = need!(ScriptedVm::new());
    each_bad_descriptor(&*vm.device, |fd, expected| {
        for flags in [0, DEASSIGN] {
            let mut argument = range(PORT, 4).argument(&fd);
            argument.flags |= flags;
            let refused = ioeventfd(&vm.device, argument);
            assert_eq!(refused, Err(expected), "descriptor {fd}, flags {flags}");
        }
    });
    assert_nothing_assigned(&vm);
    Outcome::Passed
}
