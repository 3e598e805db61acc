// SPDX-License-Identifier: GPL-2.0

//! Commands of who serves I/O requests.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    bench::Bench,
    cpus,
    device::Device,
    harness::Outcome,
    hypercall::NOTIFY_REQUEST_FINISH,
    need,
    program::{Access, read, write},
    scripted::{Idle, polled, request},
    trace::Trace,
    waiter::{Waiter, until},
};
use acrn_uapi::{acrn_ioreq_notify, ioctl::*};
use mini_acrn_channel::kind;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use zerocopy::IntoBytes;

use crate::script::{Bytes, Done, Script};

/// Long enough for a driver to look at a request, if it is going to.
const A_WHILE: Duration = Duration::from_millis(300);
/// Long enough to be sure that it is not going to, however slow the machine is.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

const READ: Access = read(Target::Port(0x510), Width::Four);

fn notify(vmid: u16, vcpu: u32) -> acrn_ioreq_notify {
    acrn_ioreq_notify {
        vmid,
        vcpu,
        ..Default::default()
    }
}

/// Raises a request of vCPU 0 and waits until it is the device model's.
fn raise(idle: &Idle, access: Access) {
    let request = request(idle.vmid, 0, access);
    assert_eq!(idle.probe.raise(request), 0, "RAISE_REQUEST");
    let slot = idle.page.slot(0).expect("a slot");
    until("the request is the device model's", || slot.is_ours());
}

/// The state of vCPU 0's slot, and what the vCPU got if it was answered.
fn answer(idle: &Idle, trace: &Trace<'_>) -> String {
    let state = idle.page.slot(0).expect("a slot").state();
    let consumed = trace.events(kind::REQUEST_CONSUMED);
    let value = consumed.iter().map(|record| {
        let value = &record.data[88..92];
        format!(", value {value:02x?}")
    });
    format!("slot {state}{}", value.collect::<String>())
}

/// Does something about the request of vCPU 0, and tells what came of the request.
fn about_request(script: &Script<'_>, case: &str, idle: &Idle, act: impl FnOnce() -> Done) {
    let _ = script.case(case, || {
        let trace = Trace::start(&idle.probe);
        let done = act();
        (done, answer(idle, &trace))
    });
}

/// CREATE_IOREQ_CLIENT.
pub fn create_client() -> Outcome {
    let idle = need!(Idle::without_client(need!(cpus::pick(1))));
    let script = Script::of(&idle.probe, ACRN_IOCTL_CREATE_IOREQ_CLIENT);
    script.without_vm(&[]);
    let _ = script.plain("first", &idle.device);
    let _ = script.plain("second", &idle.device);
    let destroy = ACRN_IOCTL_DESTROY_IOREQ_CLIENT;
    idle.device.plain(destroy).expect("DESTROY_IOREQ_CLIENT");
    let _ = script.plain("again", &idle.device);
    idle.device.plain(destroy).expect("DESTROY_IOREQ_CLIENT");
    // The request is there first.
    let request = request(idle.vmid, 0, READ);
    assert_eq!(idle.probe.raise(request), 0, "RAISE_REQUEST");
    thread::sleep(A_WHILE);
    about_request(&script, "after_request", &idle, || {
        let done = idle.device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT);
        let began = Instant::now();
        let slot = idle.page.slot(0).expect("a slot");
        while !slot.is_ours() && began.elapsed() < LONG_ENOUGH {
            thread::sleep(Duration::from_millis(5));
        }
        done
    });
    let device = idle.device.clone();
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    let _ = script.plain("destroyed", &device);
    Outcome::Passed
}

/// DESTROY_IOREQ_CLIENT.
pub fn destroy_client() -> Outcome {
    let idle = need!(Idle::new());
    let script = Script::of(&idle.probe, ACRN_IOCTL_DESTROY_IOREQ_CLIENT);
    script.without_vm(&[]);
    let _ = script.plain("client", &idle.device);
    let _ = script.plain("no_client", &idle.device);
    let create = ACRN_IOCTL_CREATE_IOREQ_CLIENT;
    idle.device.plain(create).expect("CREATE_IOREQ_CLIENT");
    raise(&idle, READ);
    about_request(&script, "with_request", &idle, || {
        idle.device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
    });
    Outcome::Passed
}

extern "C" fn nothing(_: libc::c_int) {}

/// ATTACH_IOREQ_CLIENT.
pub fn attach_client() -> Outcome {
    let idle = need!(Idle::without_client(need!(cpus::pick(1))));
    let script = Script::of(&idle.probe, ACRN_IOCTL_ATTACH_IOREQ_CLIENT);
    script.without_vm(&[]);
    let _ = script.plain("no_client", &idle.device);
    let create = ACRN_IOCTL_CREATE_IOREQ_CLIENT;
    idle.device.plain(create).expect("CREATE_IOREQ_CLIENT");
    raise(&idle, READ);
    let _ = script.plain("request", &idle.device);
    let _ = script.plain("same_request", &idle.device);
    idle.finish(0).expect("NOTIFY_REQUEST_FINISH");
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("sigaction");
    let _ = script.case("signal", || {
        let waiter = Waiter::start(&idle.device);
        waiter.signal(Signal::SIGUSR1);
        (waiter.result(), String::new())
    });
    let device = Arc::clone(&idle.device);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    let _ = script.plain("destroyed", &device);
    Outcome::Passed
}

/// CLEAR_VM_IOREQ.
pub fn clear() -> Outcome {
    let idle = need!(Idle::without_client(need!(cpus::pick(1))));
    let script = Script::of(&idle.probe, ACRN_IOCTL_CLEAR_VM_IOREQ);
    script.without_vm(&[]);
    let _ = script.plain("no_client", &idle.device);
    let create = ACRN_IOCTL_CREATE_IOREQ_CLIENT;
    idle.device.plain(create).expect("CREATE_IOREQ_CLIENT");
    let _ = script.plain("no_request", &idle.device);
    let clear = || idle.device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ);
    raise(&idle, READ);
    about_request(&script, "read", &idle, clear);
    raise(&idle, write(Target::Port(0x510), Width::Four, 0x1234_5678));
    about_request(&script, "write", &idle, clear);
    let _ = script.plain("twice", &idle.device);
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH.
pub fn finish() -> Outcome {
    let idle = need!(Idle::without_client(need!(cpus::pick(1))));
    let script = Script::of(&idle.probe, ACRN_IOCTL_NOTIFY_REQUEST_FINISH);
    let good = notify(idle.vmid, 0);
    script.without_vm(good.as_bytes());
    let _ = script.with("no_client", &idle.device, &good);
    let create = ACRN_IOCTL_CREATE_IOREQ_CLIENT;
    idle.device.plain(create).expect("CREATE_IOREQ_CLIENT");
    let with = |case: &str, argument: &acrn_ioreq_notify| {
        let _ = script.with(case, &idle.device, argument);
    };
    for reserved in [1, 0x8000] {
        let argument = acrn_ioreq_notify { reserved, ..good };
        with(&format!("reserved_{reserved:#x}"), &argument);
    }
    for vcpu in [1, 15, 16, 0xffff, 0x1_0001, u32::MAX] {
        with(&format!("vcpu_{vcpu:#x}"), &notify(idle.vmid, vcpu));
    }
    script.bad_pointers(&idle.device);

    let finish = |argument: acrn_ioreq_notify| {
        let argument = Bytes::new(argument.as_bytes());
        let request = ACRN_IOCTL_NOTIFY_REQUEST_FINISH;
        idle.device.ioctl(request, argument.argument())
    };
    raise(&idle, READ);
    about_request(&script, "request", &idle, || finish(good));
    let polled = polled(request(idle.vmid, 0, READ));
    assert_eq!(idle.probe.raise(polled), 0, "RAISE_REQUEST");
    let slot = idle.page.slot(0).expect("a slot");
    until("the request is the device model's", || slot.is_ours());
    about_request(&script, "polled_request", &idle, || finish(good));
    // The hypervisor takes it back when it is asked.
    idle.probe.vms();
    raise(&idle, READ);
    idle.probe
        .push_fault(acrn_selftests::probe::fault(NOTIFY_REQUEST_FINISH, -5));
    about_request(&script, "hypervisor_EIO", &idle, || finish(good));
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH that names another VM.
pub fn finish_other() -> Outcome {
    let idle = need!(Idle::new());
    let script = Script::of(&idle.probe, ACRN_IOCTL_NOTIFY_REQUEST_FINISH);
    raise(&idle, READ);
    let other = notify(idle.vmid ^ 0x55, 0);
    about_request(&script, "other_vmid", &idle, || {
        let argument = Bytes::new(other.as_bytes());
        let request = ACRN_IOCTL_NOTIFY_REQUEST_FINISH;
        idle.device.ioctl(request, argument.argument())
    });
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH for slots that hold no request of the device model's.
pub fn finish_nothing() -> Outcome {
    let idle = need!(Idle::new());
    let script = Script::of(&idle.probe, ACRN_IOCTL_NOTIFY_REQUEST_FINISH);
    let good = notify(idle.vmid, 0);
    raise(&idle, READ);
    let _ = script.with("first", &idle.device, &good);
    let _ = script.with("twice", &idle.device, &good);
    let _ = script.with("free_slot", &idle.device, &good);
    // Modulo 2^16 that is vCPU 0.
    let far = notify(idle.vmid, 0x1_0000);
    let _ = script.with("vcpu_0x10000", &idle.device, &far);
    Outcome::Passed
}

/// Numbers that are no command, or another size or direction of one.
pub fn unknown() -> Outcome {
    let bench = need!(Bench::new());
    let script = |request| Script::called(&bench.probe, request, "UNKNOWN");
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
        let _ = script(request).plain(case, &bench.device);
        let no_vm = need!(Device::open());
        let _ = script(request).plain(&format!("{case}_no_vm"), &no_vm);
    }
    bench.destroy();
    Outcome::Passed
}
