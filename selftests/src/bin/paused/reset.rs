// SPDX-License-Identifier: GPL-2.0

//! Tests of a RESET_VM that fails although the hypervisor resets the VM, which can happen on ACRN.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    counting_guest::{AT, CountingGuest},
    cpus,
    device::APIC,
    eventfd::Eventfd,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{INJECT_MSI, NOTIFY_REQUEST_FINISH, RESET_VM, START_VM},
    need,
    probe::fault,
    program::{greet_and_count, read},
    scripted_vm::{ScriptedVm, request},
    trace::Trace,
};
use acrn_uapi::{ACRN_IOREQ_STATE_COMPLETE, ioctl::*};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

/// The VM can be started afterwards. Its requests are completed, and its interrupts are injected.
pub fn failed_late() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(PAGE)));
    let event = Eventfd::new();
    counter.device.irqfd(&event, 0, APIC, 0x31).expect("IRQFD");
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.probe.push_fault(Fault {
        after: 1,
        ..fault(RESET_VM, -110)
    });
    let reset = counter.device.plain(ACRN_IOCTL_RESET_VM);
    assert_eq!(reset, Err(Errno::ETIMEDOUT));

    counter.guest.load_long_mode(&greet_and_count(AT));
    // The guest goes on only if its first request is completed.
    counter.start();
    let trace = Trace::start(&counter.probe);
    counter.device.inject_msi(APIC, 0x31).expect("INJECT_MSI");
    event.signal();
    assert_eq!(trace.calls(INJECT_MSI).len(), 2, "INJECT_MSI");
    Outcome::Passed
}

/// A vCPU makes a request before START_VM has returned, and CLEAR_VM_IOREQ completes it. The driver
/// notifies the hypervisor once it knows by the success of START_VM that the VM was reset.
pub fn cleared_while_starting() -> Outcome {
    const VCPU: u16 = 1;
    let vm = need!(ScriptedVm::on(need!(cpus::pick(2))));
    let slot = vm.page.slot(VCPU.into()).expect("slot 1");
    vm.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    vm.probe.push_fault(Fault {
        after: 1,
        ..fault(RESET_VM, -110)
    });
    let reset = vm.device.plain(ACRN_IOCTL_RESET_VM);
    assert_eq!(reset, Err(Errno::ETIMEDOUT));
    for fails in [true, false] {
        let trace = Trace::start(&vm.probe);
        let notified = || {
            let calls = trace.calls(NOTIFY_REQUEST_FINISH);
            calls.iter().filter(|call| call.p2 == VCPU.into()).count()
        };
        if fails {
            vm.probe.refuse(START_VM, vm.vmid);
        }
        let device = vm.device.clone();
        let held = HeldHypercall::start(&vm.probe, START_VM, vm.vmid, move || {
            device.plain(ACRN_IOCTL_START_VM)
        });
        let access = read(Target::Port(0x510), Width::Four);
        assert_eq!(vm.probe.raise(request(vm.vmid, VCPU, access)), 0);
        vm.device
            .plain(ACRN_IOCTL_CLEAR_VM_IOREQ)
            .expect("CLEAR_VM_IOREQ");
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_COMPLETE);
        assert_eq!(notified(), 0, "during START_VM");
        let expected = match fails {
            true => Err(Errno::EIO),
            false => Ok(()),
        };
        assert_eq!(held.release(), expected, "START_VM");
        assert_eq!(notified(), usize::from(!fails), "START_VM fails: {fails}");
    }
    Outcome::Passed
}
