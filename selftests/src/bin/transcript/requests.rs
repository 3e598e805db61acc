// SPDX-License-Identifier: GPL-2.0

//! Cases of the commands that serve I/O requests.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    harness::Outcome,
    hypercall::NOTIFY_REQUEST_FINISH,
    mapping_fixture::MappingFixture,
    need,
    program::{Access, read, write},
    scripted_vm::{ScriptedVm, polled, request},
    trace::Trace,
    waiter::{Waiter, until},
};
use acrn_uapi::{acrn_ioreq_notify, ioctl::*};
use mini_acrn_channel::kind;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use zerocopy::IntoBytes;

use crate::script::{Bytes, Done, Script};

/// Long enough for a driver to examine a request, if it does so.
const A_WHILE: Duration = Duration::from_millis(300);
/// Long enough to be certain that the driver does not examine it, however slow the machine is.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

const READ: Access = read(Target::Port(0x510), Width::Four);

fn notify(vmid: u16, vcpu: u32) -> acrn_ioreq_notify {
    acrn_ioreq_notify {
        vmid,
        vcpu,
        ..Default::default()
    }
}

/// Raises a request of vCPU 0, and waits until the driver leaves it to the device model.
fn raise(vm: &ScriptedVm, access: Access) {
    let request = request(vm.vmid, 0, access);
    assert_eq!(vm.probe.raise(request), 0, "RAISE_REQUEST");
    let slot = vm.page.slot(0).expect("a slot");
    until("the request is left to the device model", || slot.is_ours());
}

/// Returns the state of vCPU 0's slot, and the value that the vCPU received if the request was
/// completed.
fn answer(vm: &ScriptedVm, trace: &Trace<'_>) -> String {
    let state = vm.page.slot(0).expect("a slot").state();
    let consumed = trace.events(kind::REQUEST_CONSUMED);
    let value = consumed.iter().map(|record| {
        let value = &record.data[88..92];
        format!(", value {value:02x?}")
    });
    format!("slot {state}{}", value.collect::<String>())
}

/// Acts on the request of vCPU 0, and prints the resulting state of the request.
fn about_request(script: &Script<'_>, case: &str, vm: &ScriptedVm, act: impl FnOnce() -> Done) {
    let _ = script.case(case, || {
        let trace = Trace::start(&vm.probe);
        let done = act();
        (done, answer(vm, &trace))
    });
}

/// Prints the results of CREATE_IOREQ_CLIENT.
pub fn create_ioreq_client() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    let script = Script::of(&vm.probe, ACRN_IOCTL_CREATE_IOREQ_CLIENT);
    script.without_vm(&[]);
    let _ = script.plain("first", &vm.device);
    let _ = script.plain("second", &vm.device);
    let destroy = ACRN_IOCTL_DESTROY_IOREQ_CLIENT;
    vm.device.plain(destroy).expect("DESTROY_IOREQ_CLIENT");
    let _ = script.plain("again", &vm.device);
    vm.device.plain(destroy).expect("DESTROY_IOREQ_CLIENT");
    // The request is raised before the client is created.
    let request = request(vm.vmid, 0, READ);
    assert_eq!(vm.probe.raise(request), 0, "RAISE_REQUEST");
    thread::sleep(A_WHILE);
    about_request(&script, "after_request", &vm, || {
        let done = vm.device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT);
        let began = Instant::now();
        let slot = vm.page.slot(0).expect("a slot");
        while !slot.is_ours() && began.elapsed() < LONG_ENOUGH {
            thread::sleep(Duration::from_millis(5));
        }
        done
    });
    let device = vm.device.clone();
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    let _ = script.plain("destroyed", &device);
    Outcome::Passed
}

/// Prints the results of DESTROY_IOREQ_CLIENT.
pub fn destroy_ioreq_client() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let script = Script::of(&vm.probe, ACRN_IOCTL_DESTROY_IOREQ_CLIENT);
    script.without_vm(&[]);
    let _ = script.plain("client", &vm.device);
    let _ = script.plain("no_client", &vm.device);
    let create = ACRN_IOCTL_CREATE_IOREQ_CLIENT;
    vm.device.plain(create).expect("CREATE_IOREQ_CLIENT");
    raise(&vm, READ);
    about_request(&script, "with_request", &vm, || {
        vm.device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
    });
    Outcome::Passed
}

extern "C" fn nothing(_: libc::c_int) {}

/// Prints the results of ATTACH_IOREQ_CLIENT.
pub fn attach_ioreq_client() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    let script = Script::of(&vm.probe, ACRN_IOCTL_ATTACH_IOREQ_CLIENT);
    script.without_vm(&[]);
    let _ = script.plain("no_client", &vm.device);
    let create = ACRN_IOCTL_CREATE_IOREQ_CLIENT;
    vm.device.plain(create).expect("CREATE_IOREQ_CLIENT");
    raise(&vm, READ);
    let _ = script.plain("request", &vm.device);
    let _ = script.plain("same_request", &vm.device);
    vm.finish(0).expect("NOTIFY_REQUEST_FINISH");
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: The handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("sigaction");
    let _ = script.case("signal", || {
        let waiter = Waiter::start(&vm.device);
        waiter.signal(Signal::SIGUSR1);
        (waiter.result(), String::new())
    });
    let device = Arc::clone(&vm.device);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    let _ = script.plain("destroyed", &device);
    Outcome::Passed
}

/// Prints the results of CLEAR_VM_IOREQ.
pub fn clear_vm_ioreq() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    let script = Script::of(&vm.probe, ACRN_IOCTL_CLEAR_VM_IOREQ);
    script.without_vm(&[]);
    let _ = script.plain("no_client", &vm.device);
    let create = ACRN_IOCTL_CREATE_IOREQ_CLIENT;
    vm.device.plain(create).expect("CREATE_IOREQ_CLIENT");
    let _ = script.plain("no_request", &vm.device);
    let clear = || vm.device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ);
    raise(&vm, READ);
    about_request(&script, "read", &vm, clear);
    raise(&vm, write(Target::Port(0x510), Width::Four, 0x1234_5678));
    about_request(&script, "write", &vm, clear);
    let _ = script.plain("twice", &vm.device);
    Outcome::Passed
}

/// Prints the results of NOTIFY_REQUEST_FINISH.
pub fn finish() -> Outcome {
    let vm = need!(ScriptedVm::without_client(need!(cpus::pick(1))));
    let script = Script::of(&vm.probe, ACRN_IOCTL_NOTIFY_REQUEST_FINISH);
    let good = notify(vm.vmid, 0);
    script.without_vm(good.as_bytes());
    let _ = script.with("no_client", &vm.device, &good);
    let create = ACRN_IOCTL_CREATE_IOREQ_CLIENT;
    vm.device.plain(create).expect("CREATE_IOREQ_CLIENT");
    let with = |case: &str, argument: &acrn_ioreq_notify| {
        let _ = script.with(case, &vm.device, argument);
    };
    for reserved in [1, 0x8000] {
        let argument = acrn_ioreq_notify { reserved, ..good };
        with(&format!("reserved_{reserved:#x}"), &argument);
    }
    for vcpu in [1, 15, 16, 0xffff, 0x1_0001, u32::MAX] {
        with(&format!("vcpu_{vcpu:#x}"), &notify(vm.vmid, vcpu));
    }
    script.bad_pointers(&vm.device);

    let finish = |argument: acrn_ioreq_notify| {
        let argument = Bytes::new(argument.as_bytes());
        let request = ACRN_IOCTL_NOTIFY_REQUEST_FINISH;
        vm.device.ioctl(request, argument.argument())
    };
    raise(&vm, READ);
    about_request(&script, "request", &vm, || finish(good));
    let polled = polled(request(vm.vmid, 0, READ));
    assert_eq!(vm.probe.raise(polled), 0, "RAISE_REQUEST");
    let slot = vm.page.slot(0).expect("a slot");
    until("the request is left to the device model", || slot.is_ours());
    about_request(&script, "polled_request", &vm, || finish(good));
    // The hypervisor takes the completed request when it is called the next time.
    vm.probe.vms();
    raise(&vm, READ);
    vm.probe
        .push_fault(acrn_selftests::probe::fault(NOTIFY_REQUEST_FINISH, -5));
    about_request(&script, "hypervisor_EIO", &vm, || finish(good));
    Outcome::Passed
}

/// Prints the result of NOTIFY_REQUEST_FINISH with the id of another VM.
pub fn notify_for_another_vm() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let script = Script::of(&vm.probe, ACRN_IOCTL_NOTIFY_REQUEST_FINISH);
    raise(&vm, READ);
    let other = notify(vm.vmid ^ 0x55, 0);
    about_request(&script, "other_vmid", &vm, || {
        let argument = Bytes::new(other.as_bytes());
        let request = ACRN_IOCTL_NOTIFY_REQUEST_FINISH;
        vm.device.ioctl(request, argument.argument())
    });
    Outcome::Passed
}

/// Prints the results of NOTIFY_REQUEST_FINISH for slots without a request of the device model.
pub fn notify_nothing() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let script = Script::of(&vm.probe, ACRN_IOCTL_NOTIFY_REQUEST_FINISH);
    let good = notify(vm.vmid, 0);
    raise(&vm, READ);
    let _ = script.with("first", &vm.device, &good);
    let _ = script.with("twice", &vm.device, &good);
    let _ = script.with("free_slot", &vm.device, &good);
    // Modulo 2^16, this is vCPU 0.
    let far = notify(vm.vmid, 0x1_0000);
    let _ = script.with("vcpu_0x10000", &vm.device, &far);
    Outcome::Passed
}

/// Prints the results of numbers that are not commands, or that differ from a command in size or
/// direction.
pub fn unknown() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = |request| Script::called(&fixture.probe, request, "UNKNOWN");
    let set = ACRN_IOCTL_SET_MEMSEG;
    for (case, request) in [
        ("zero", 0),
        ("all_ones", u32::MAX),
        ("number_0", 0xa200),
        ("number_ff", 0xa2ff),
        ("asyncio_of_acrns_kernel", 0x4008_a290),
        ("vm_event_ring_of_acrns_kernel", 0x4008_a2a0),
        ("vm_event_fd_of_acrns_kernel", 0x4004_a2a1),
        ("other_type", ACRN_IOCTL_START_VM ^ 0x100),
        ("larger", set + (8 << 16)),
        ("smaller", ACRN_IOCTL_INJECT_MSI - (8 << 16)),
        ("no_size", set & !(0x3fff << 16)),
        ("other_direction", set ^ 3 << 30),
    ] {
        let _ = script(request).plain(case, &fixture.device);
        let no_vm = need!(Device::open());
        let _ = script(request).plain(&format!("{case}_no_vm"), &no_vm);
    }
    fixture.destroy();
    Outcome::Passed
}
