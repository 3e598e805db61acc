// SPDX-License-Identifier: GPL-2.0

//! Tests of the commands that each state allows, and of the resulting hypercalls.

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

/// Returns all commands that need a VM, with their names.
fn commands_on_a_vm() -> impl Iterator<Item = (u32, &'static str)> {
    let all = ioctl::ALL.iter().copied();
    all.filter(|(request, _)| *request != ACRN_IOCTL_CREATE_VM)
}

#[track_caller]
fn assert_all_refused(device: &Device) {
    for (request, name) in commands_on_a_vm() {
        // Without a VM, the driver does not read the argument.
        let refused = device.ioctl(request, Argument::NULL);
        assert_eq!(refused, Err(Errno::EINVAL), "{name}");
    }
}

/// Before CREATE_VM, all other commands fail with `EINVAL`, and make no hypercall.
pub fn before_create() -> Outcome {
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    assert_all_refused(&need!(Device::open()));
    if let Some(trace) = trace {
        trace.assert_no_hypercalls();
    }
    Outcome::Passed
}

/// After DESTROY_VM, all commands but CREATE_VM fail with `EINVAL`, and make no hypercall.
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

/// Creates a guest whose vCPU waits for the completion of a port read once it is started.
fn port_reader(cpus: u64) -> Guest {
    let access = [read(Target::Port(0x510), Width::One)];
    Guest::long_mode(cpus, &program::long_mode(&access))
}

/// START_VM of a running VM passes on the hypervisor's error.
pub fn start_twice() -> Outcome {
    let guest = port_reader(need!(cpus::pick(1)));
    guest.vm.start().expect("START_VM");
    assert_eq!(errno(guest.vm.start()), Err(libc::EPERM));
    guest.serve(1, |_, _| 0);
    Outcome::Passed
}

/// SET_VCPU_REGS fails if the VM is running.
pub fn registers_while_running() -> Outcome {
    let guest = port_reader(need!(cpus::pick(1)));
    guest.vm.start().expect("START_VM");
    let registers = acrn_vcpu_regs::default();
    assert_eq!(errno(guest.vm.set_vcpu_regs(&registers)), Err(libc::EPERM));
    guest.serve(1, |_, _| 0);
    Outcome::Passed
}

/// PAUSE_VM succeeds if the VM is already paused.
pub fn pause_twice() -> Outcome {
    let guest = port_reader(need!(cpus::pick(1)));
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

/// RESET_VM fails if the VM is not paused.
pub fn reset_needs_pause() -> Outcome {
    let guest = port_reader(need!(cpus::pick(1)));
    guest.vm.start().expect("START_VM");
    assert_eq!(errno(guest.vm.reset()), Err(libc::EPERM));
    guest.serve(1, |_, _| 0);
    Outcome::Passed
}

/// A VM runs again after the commands by which a device model reboots its guest, even with a
/// request in flight.
pub fn reset_and_start_again() -> Outcome {
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    let access = [read(Target::Port(0x510), Width::Four)];
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&access));
    // The guest stores EAX after the read.
    let stored = || guest.memory.read::<u32>(program::RESULTS as usize);
    guest.vm.start().expect("START_VM");
    for round in 1..=3 {
        // The device model does not complete the request, and the vCPU starts from the beginning.
        guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
        guest.vm.pause().expect("PAUSE_VM");
        guest.vm.clear_vm_ioreq().expect("CLEAR_VM_IOREQ");
        guest.vm.reset().expect("RESET_VM");
        guest.memory.write::<u64>(program::RESULTS as usize, 0);
        guest.load_long_mode(&program::long_mode(&access));
        guest.vm.start().expect("START_VM");
        let requests = guest.serve(1, |_, _| round.into());
        assert_eq!(requests.len(), 1, "requests of round {round}");
        assert_eq!(stored(), round);
        // Resets the VM once more, while the vCPU halts.
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

/// Command numbers that are unknown, of another driver, or of another size fail with `ENOTTY`.
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
