// SPDX-License-Identifier: GPL-2.0

//! Tests of VMs that end while eventfds are assigned. Later writes cause no interrupts, and nothing
//! is left behind.

use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::Child,
    sync::Arc,
};

use acrn_selftests::{
    cpus,
    device::{APIC, Device},
    eventfd::{Eventfd, until_released},
    guest::Guest,
    harness::{self, Outcome},
    held_hypercall::HeldHypercall,
    hypercall::{DESTROY_VM, INJECT_MSI, PAUSE_VM, START_VM},
    interrupt_guest::{InterruptGuest, Rest, VECTORS},
    leaks::{Snapshot, module_users},
    mapping_fixture::MappingFixture,
    need,
    probe::{Probe, fault},
    program,
    scripted_vm::ScriptedVm,
    trace::Trace,
    waiter::SleepingCommand,
};
use acrn_uapi::ioctl::*;
use nix::errno::Errno;

use crate::assign::{assign, assigned, deassign, injected};

/// Environment variable with the descriptor of the victim's eventfd.
const DESCRIPTOR: &str = "ACRN_SELFTEST_EVENTFD";

/// DESTROY_VM releases the eventfds. No interrupt is sent afterwards.
pub fn destroy() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let users = module_users();
    let events: Vec<_> = (0..10).map(|_| assigned(&fixture.device, 0x31)).collect();
    let ids: Vec<_> = events.iter().map(Eventfd::id).collect();
    assert_eq!(module_users(), users);
    fixture.destroy();
    let trace = Trace::start(&fixture.probe);
    for event in &events {
        event.signal();
        assert_eq!(event.take(), 1);
    }
    trace.assert_no_hypercalls();
    drop(events);
    until_released(&ids);
    assert_eq!(module_users(), users);
    Outcome::Passed
}

/// If DESTROY_VM fails, the eventfds stay assigned.
pub fn destroy_refused() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    // DESTROY_VM fails because the VM is not paused.
    let refused = fixture.device.plain(ACRN_IOCTL_DESTROY_VM);
    assert_eq!(refused, Err(Errno::EPERM));
    let trace = Trace::start(&fixture.probe);
    event.signal();
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x31)]);
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor refuses PAUSE_VM or DESTROY_VM of a paused VM, the VM stays paused, and the
/// driver sends no interrupts.
pub fn refused_while_paused() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    for (command, hypercall) in [
        (ACRN_IOCTL_PAUSE_VM, PAUSE_VM),
        (ACRN_IOCTL_DESTROY_VM, DESTROY_VM),
    ] {
        fixture.probe.push_fault(fault(hypercall, -5));
        assert_eq!(fixture.device.plain(command), Err(Errno::EIO));
        let trace = Trace::start(&fixture.probe);
        event.signal();
        assert_eq!(event.take(), 0, "events left in the eventfd");
        assert_eq!(trace.ids(), [], "after {command:#x}");
    }
    fixture.device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
    let trace = Trace::start(&fixture.probe);
    event.signal();
    assert_eq!(injected(&trace).len(), 1, "after RESET_VM");
    fixture.destroy();
    Outcome::Passed
}

/// An irqfd that is assigned while PAUSE_VM or DESTROY_VM is in progress sends the interrupt for an
/// earlier signal if that command fails.
pub fn assigned_while_stopping() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let device = Arc::new(fixture.device);
    for (command, hypercall) in [
        (ACRN_IOCTL_PAUSE_VM, PAUSE_VM),
        (ACRN_IOCTL_DESTROY_VM, DESTROY_VM),
    ] {
        let trace = Trace::start(&fixture.probe);
        fixture.probe.push_fault(fault(hypercall, -5));
        let stopped = device.clone();
        let held = HeldHypercall::start(&fixture.probe, hypercall, fixture.vmid, move || {
            stopped.plain(command)
        });
        let event = Eventfd::new();
        event.signal();
        let assigned = device.clone();
        let assigner = SleepingCommand::start_or_finish(move || {
            assign(&assigned, &event, 0x31).expect("IRQFD");
            event
        });
        assert_eq!(held.release(), Err(Errno::EIO));
        let event = assigner.result();
        assert_eq!(event.take(), 0, "events left in the eventfd");
        assert_eq!(injected(&trace).len(), 1, "after {command:#x}");
        deassign(&device, &event).expect("DEASSIGN");
    }
    Outcome::Passed
}

/// Two VMs share an eventfd. Signals while START_VM of one of them is in progress interrupt both.
pub fn shared_while_starting() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    for event in [Eventfd::new(), Eventfd::semaphore()] {
        let starting = Guest::long_mode(masks[0], &program::long_mode(&[]));
        let running = need!(ScriptedVm::without_client(masks[1]));
        let device = Device::sharing(&starting.vm);
        let vmid = starting.vm.vmid();
        assign(&device, &event, 0x31).expect("IRQFD");
        assign(&running.device, &event, 0x32).expect("IRQFD");
        let trace = Trace::start(&running.probe);
        let held = HeldHypercall::start(&running.probe, START_VM, vmid, move || {
            device.plain(ACRN_IOCTL_START_VM)
        });
        for _ in 0..3 {
            event.signal();
        }
        assert_eq!(held.release(), Ok(()));
        let sent = injected(&trace);
        for id in [vmid, running.vmid] {
            let is_sent = sent.iter().any(|(vm, _, _)| *vm == u64::from(id));
            assert!(is_sent, "no interrupt for VM {id}: {sent:#x?}");
        }
        assert_eq!(event.take(), 0, "events left in the eventfd");
    }
    Outcome::Passed
}

/// An event that arrives while START_VM is in progress interrupts the guest even if user space
/// closes the eventfd before START_VM returns.
pub fn closed_while_starting() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    let trace = Trace::start(&fixture.probe);
    let device = Device::sharing(&fixture.device);
    let held = HeldHypercall::start(&fixture.probe, START_VM, fixture.vmid, move || {
        device.plain(ACRN_IOCTL_START_VM)
    });
    event.signal();
    drop(event);
    assert_eq!(held.release(), Ok(()));
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x31)]);
    Outcome::Passed
}

/// RESET_VM keeps the eventfds assigned.
pub fn reset_keeps() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    for request in [ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM] {
        fixture.device.plain(request).expect("PAUSE_VM or RESET_VM");
    }
    let trace = Trace::start(&fixture.probe);
    event.signal();
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x31)]);
    Outcome::Passed
}

/// Closing the file while the guest runs releases the eventfds (A1).
pub fn close_running() -> Outcome {
    let probe = need!(Probe::open());
    let before = Snapshot::take();
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Spin);
    let event = Eventfd::new();
    let vector = VECTORS[0];
    guest
        .vm()
        .assign_irqfd(&event, guest.msi(), vector.into())
        .expect("IRQFD");
    event.signal();
    guest.wait(vector, 1);
    let id = event.id();
    guest.close();
    assert_eq!(before.leaks(), [""; 0]);
    let trace = Trace::start(&probe);
    event.signal();
    assert_eq!(trace.calls(INJECT_MSI).len(), 0);
    drop(event);
    until_released(&[id]);
    Outcome::Passed
}

/// Starts a process with a VM that shares an eventfd with this process.
fn start_victim(event: &Eventfd) -> Result<Child, String> {
    let inherited = event.inheritable();
    let number = inherited.as_raw_fd().to_string();
    let mut victim = harness::helper("victim");
    victim.env(DESCRIPTOR, number);
    harness::start(victim)
}

/// SIGKILL ends a device model whose eventfd other processes continue to signal (A1).
pub fn killed() -> Outcome {
    let probe = need!(Probe::open());
    let before = Snapshot::take();
    let event = Eventfd::new();
    let mut victim = need!(start_victim(&event));
    let trace = Trace::start(&probe);
    event.signal();
    assert_eq!(trace.calls(INJECT_MSI).len(), 1);
    victim.kill().expect("SIGKILL");
    victim.wait().expect("wait for the victim");
    assert_eq!(before.leaks(), [""; 0]);
    let trace = Trace::start(&probe);
    event.signal();
    trace.assert_no_hypercalls();
    let id = event.id();
    drop(event);
    until_released(&[id]);
    Outcome::Passed
}

/// The process that [`killed`] kills.
pub fn victim() -> Outcome {
    let number = std::env::var(DESCRIPTOR).ok().and_then(|n| n.parse().ok());
    // SAFETY: The parent passes the number of a descriptor that has no other user.
    let event = unsafe { OwnedFd::from_raw_fd(number.expect("a descriptor")) };
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    guest
        .vm()
        .assign_irqfd(&event, guest.msi(), VECTORS[0].into())
        .expect("IRQFD");
    harness::ready();
    let ended = guest.vm().attach_ioreq_client();
    panic!("ATTACH_IOREQ_CLIENT: {ended:?}");
}
