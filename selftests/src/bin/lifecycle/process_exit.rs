// SPDX-License-Identifier: GPL-2.0

//! Tests of the ways in which the process of a device model ends.
//!
//! The harness checks after each test that nothing is left behind. Tests that continue after the
//! end of the process check it themselves.

use std::{os::unix::process::ExitStatusExt, sync::Arc, thread, time::Duration};

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cleanup, cpus,
    device::Device,
    guest::{Guest, create_raw},
    harness::{self, Outcome},
    hypercall,
    leaks::{self, Snapshot},
    need,
    probe::{Probe, fault},
    program::{self, read},
    trace::Trace,
    waiter::{Waiter, until},
};
use acrn_uapi::ioctl::*;
use mini_acrn_channel::ANY_VM;

/// Runs `end`, which ends a device model.
///
/// Panics unless nothing is left behind and the driver's last hypercalls are PAUSE_VM and
/// DESTROY_VM. Skips the test if `end` fails.
fn ends_well(end: impl FnOnce() -> Result<(), String>) -> Outcome {
    let before = Snapshot::take();
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    need!(end());
    assert_eq!(before.leaks(), [""; 0]);
    if let Some(trace) = trace {
        let ids = trace.ids();
        let end = &ids[ids.len().saturating_sub(2)..];
        assert_eq!(
            end,
            [hypercall::PAUSE_VM, hypercall::DESTROY_VM],
            "{ids:#x?}"
        );
        assert_eq!(trace.calls(hypercall::DESTROY_VM).len(), 1);
        trace.assert_sane();
    }
    Outcome::Passed
}

/// Closing a file without a VM makes no hypercall.
pub fn close_empty() -> Outcome {
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    drop(need!(Device::open()));
    if let Some(trace) = trace {
        trace.assert_no_hypercalls();
    }
    Outcome::Passed
}

/// Closing the file destroys a VM that was never started.
pub fn close_created() -> Outcome {
    ends_well(|| {
        Guest::new(cpus::pick(1)?).close();
        Ok(())
    })
}

/// Closing the file destroys a VM whose vCPU halts.
pub fn close_running() -> Outcome {
    ends_well(|| {
        let guest = Guest::long_mode(cpus::pick(1)?, &program::long_mode(&[]));
        guest.vm.start().expect("START_VM");
        guest.serve(1, |_, _| 0);
        guest.close();
        Ok(())
    })
}

/// Closing the file destroys a VM whose vCPU never leaves the guest by itself.
pub fn close_spinning() -> Outcome {
    ends_well(|| {
        let guest = Guest::long_mode(cpus::pick(1)?, &program::greet_and_spin());
        guest.vm.start().expect("START_VM");
        guest.serve(1, |_, _| 0);
        thread::sleep(Duration::from_millis(20));
        guest.close();
        Ok(())
    })
}

/// Closing the file destroys a VM whose vCPU waits for the completion of a request.
pub fn close_with_request() -> Outcome {
    ends_well(|| {
        let access = [read(Target::Port(0x510), Width::One)];
        let guest = Guest::long_mode(cpus::pick(1)?, &program::long_mode(&access));
        guest.vm.start().expect("START_VM");
        guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
        guest.close();
        Ok(())
    })
}

/// Closing the file destroys a VM that the device model has paused, but not destroyed.
pub fn close_paused() -> Outcome {
    ends_well(|| {
        let guest = Guest::long_mode(cpus::pick(1)?, &program::greet_and_spin());
        guest.vm.start().expect("START_VM");
        guest.serve(1, |_, _| 0);
        guest.vm.pause().expect("PAUSE_VM");
        guest.close();
        Ok(())
    })
}

/// Closing the last descriptor of a file destroys its VM, and closing another one does not.
pub fn close_by_last_descriptor() -> Outcome {
    let probe = need!(Probe::open());
    let (device, _page, vmid) = create_raw(need!(cpus::pick(1)));
    let other = Device::sharing(&device);
    device.close();
    assert!(probe.vm(vmid).is_some());
    other.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    drop(other);
    assert!(probe.vm(vmid).is_none());
    Outcome::Passed
}

/// A process can exit while one of its threads waits for requests.
pub fn exit_with_attached_thread() -> Outcome {
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    let device = Arc::new(device);
    let waiter = Waiter::start(&device);
    assert!(waiter.waits());
    cleanup::unregister(&*device);
    Outcome::Passed
}

/// SIGKILL ends a device model that has memory, a spinning guest, and a thread that waits for
/// requests.
pub fn killed_while_running() -> Outcome {
    ends_well(|| {
        let mut victim = harness::start(harness::helper("victim"))?;
        thread::sleep(Duration::from_millis(50));
        victim.kill().expect("SIGKILL");
        let status = victim.wait().expect("wait for the victim");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        Ok(())
    })
}

/// The process that [`killed_while_running`] kills.
pub fn victim() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    harness::ready();
    let ended = guest.vm.attach_ioreq_client();
    panic!("ATTACH_IOREQ_CLIENT: {ended:?}");
}

/// The module cannot be unloaded while a file is open.
pub fn file_holds_module() -> Outcome {
    let Some(before) = leaks::module_users() else {
        acrn_selftests::skip!("the driver is not a module");
    };
    let device = need!(Device::open());
    assert_eq!(leaks::module_users(), Some(before + 1));
    drop(device);
    assert_eq!(leaks::module_users(), Some(before));
    Outcome::Passed
}

/// If PAUSE_VM fails when the file is closed, the driver destroys the VM nevertheless. The device
/// model has paused it before.
pub fn close_pause_refused() -> Outcome {
    let probe = need!(Probe::open());
    let before = Snapshot::take();
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    guest.vm.pause().expect("PAUSE_VM");
    probe.refuse(hypercall::PAUSE_VM, guest.vm.vmid());
    guest.close();
    assert_eq!(before.leaks(), [""; 0]);
    Outcome::Passed
}

/// A device model that is killed during DESTROY_VM ends after the command. If the hypervisor
/// refuses, the driver makes the hypercall again when the file is closed.
pub fn killed_while_destroying() -> Outcome {
    let probe = need!(Probe::open());
    let before = Snapshot::take();
    for refused in [false, true] {
        if refused {
            probe.push_fault(fault(hypercall::DESTROY_VM, -5));
        }
        probe.hold(hypercall::DESTROY_VM, ANY_VM);
        let trace = Trace::start(&probe);
        let mut victim = need!(harness::start(harness::helper("destroying_victim")));
        until("mini-ACRN holds DESTROY_VM", || probe.is_held());
        victim.kill().expect("SIGKILL");
        assert_eq!(victim.try_wait().expect("try_wait for the victim"), None);
        probe.release();
        let status = victim.wait().expect("wait for the victim");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        let tried = trace.calls(hypercall::DESTROY_VM).len();
        assert_eq!(tried, 1 + usize::from(refused), "DESTROY_VM");
        assert_eq!(before.leaks(), [""; 0]);
    }
    Outcome::Passed
}

/// The process that [`killed_while_destroying`] kills.
pub fn destroying_victim() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    guest.vm.pause().expect("PAUSE_VM");
    harness::ready();
    let destroyed = Device::sharing(&guest.vm).plain(ACRN_IOCTL_DESTROY_VM);
    panic!("DESTROY_VM: {destroyed:?}");
}
