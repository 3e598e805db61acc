// SPDX-License-Identifier: GPL-2.0

//! The commands that each state allows, and the resulting hypercalls.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::{Argument, Device},
    guest::{Guest, create_raw},
    harness::Outcome,
    hypercall, need,
    probe::Probe,
    program::{self, read},
    trace::Trace,
};
use acrn_uapi::{acrn_vcpu_regs, ioctl, ioctl::*};
use nix::errno::Errno;

/// Returns all commands that need a VM.
fn commands_on_a_vm() -> impl Iterator<Item = (u32, &'static str)> {
    let all = ioctl::ALL.iter().copied();
    all.filter(|(request, _)| *request != ACRN_IOCTL_CREATE_VM)
}

#[track_caller]
fn assert_all_refused(device: &Device) {
    for (request, name) in commands_on_a_vm() {
        // The argument is not checked yet, so it does not matter.
        let refused = device.ioctl(request, Argument::NULL);
        assert_eq!(refused, Err(Errno::EINVAL), "{name}");
    }
}

/// Without a VM all commands fail, and make no hypercall.
pub fn before_create() -> Outcome {
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    assert_all_refused(&need!(Device::open()));
    if let Some(trace) = trace {
        trace.assert_no_hypercalls();
    }
    Outcome::Passed
}

/// After DESTROY_VM all commands fail, and make no hypercall.
pub fn after_destroy() -> Outcome {
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    assert_all_refused(&device);
    if let Some(trace) = trace {
        trace.assert_no_hypercalls();
    }
    Outcome::Passed
}

fn errno<T>(result: acrn_ioctls::Result<T>) -> Result<T, i32> {
    result.map_err(|error| error.errno())
}

/// Creates a guest that waits for the completion of a port read.
fn at_its_port(cpus: u64) -> Guest {
    let access = [read(Target::Port(0x510), Width::One)];
    Guest::long_mode(cpus, &program::long_mode(&access))
}

/// The hypervisor's error is passed on.
pub fn start_twice() -> Outcome {
    let guest = at_its_port(need!(cpus::pick(1)));
    guest.vm.start().expect("START_VM");
    assert_eq!(errno(guest.vm.start()), Err(libc::EPERM));
    guest.serve(1, |_, _| 0);
    Outcome::Passed
}

/// Registers of a running vCPU cannot be set.
pub fn registers_while_running() -> Outcome {
    let guest = at_its_port(need!(cpus::pick(1)));
    guest.vm.start().expect("START_VM");
    let registers = acrn_vcpu_regs::default();
    assert_eq!(errno(guest.vm.set_vcpu_regs(&registers)), Err(libc::EPERM));
    guest.serve(1, |_, _| 0);
    Outcome::Passed
}

/// PAUSE_VM may be repeated.
pub fn pause_twice() -> Outcome {
    let guest = at_its_port(need!(cpus::pick(1)));
    for _ in 0..2 {
        guest.vm.pause().expect("PAUSE_VM of a created VM");
    }
    drop(guest);
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    for _ in 0..2 {
        guest.vm.pause().expect("PAUSE_VM of a spinning VM");
    }
    Outcome::Passed
}

/// A VM that is not paused cannot be reset.
pub fn reset_needs_pause() -> Outcome {
    let guest = at_its_port(need!(cpus::pick(1)));
    guest.vm.start().expect("START_VM");
    assert_eq!(errno(guest.vm.reset()), Err(libc::EPERM));
    guest.serve(1, |_, _| 0);
    Outcome::Passed
}

/// The sequence of a device model when its guest reboots, including a request in flight.
pub fn reset_and_start_again() -> Outcome {
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    let access = [read(Target::Port(0x510), Width::Four)];
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&access));
    // EAX after the read.
    let stored = || guest.memory.read::<u32>(program::RESULTS as usize);
    guest.vm.start().expect("START_VM");
    for round in 1..=3 {
        // The request is not completed, and the vCPU starts from the beginning.
        guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
        guest.vm.pause().expect("PAUSE_VM");
        guest.vm.clear_vm_ioreq().expect("CLEAR_VM_IOREQ");
        guest.vm.reset().expect("RESET_VM");
        guest.memory.write::<u64>(program::RESULTS as usize, 0);
        guest.load_long_mode(&program::long_mode(&access));
        guest.vm.start().expect("START_VM");
        let asked = guest.serve(1, |_, _| round.into());
        assert_eq!(asked.len(), 1, "requests of round {round}");
        assert_eq!(stored(), round);
        // Another reset while the vCPU halts.
        guest.vm.pause().expect("PAUSE_VM");
        guest.vm.reset().expect("RESET_VM");
        guest.load_long_mode(&program::long_mode(&access));
        guest.vm.start().expect("START_VM");
    }
    if let Some(trace) = trace {
        trace.assert_sane();
        assert_eq!(trace.calls(hypercall::RESET_VM).len(), 6);
    }
    Outcome::Passed
}

/// Numbers that are unknown, of another driver, or of another size.
pub fn unknown_command() -> Outcome {
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    let start = ACRN_IOCTL_START_VM;
    let set = ACRN_IOCTL_SET_MEMSEG;
    let unknown = [
        0,
        u32::MAX,
        start | 0x80,
        start & !0xff,
        start ^ 0x100,
        start | 1 << 30,
        set ^ 8 << 16,
        set ^ 3 << 30,
        set & !(0xffff << 16),
    ];
    for request in unknown {
        let refused = device.ioctl(request, Argument::NULL);
        assert_eq!(refused, Err(Errno::ENOTTY), "{request:#x}");
    }
    if let Some(trace) = trace {
        trace.assert_no_hypercalls();
    }
    Outcome::Passed
}
