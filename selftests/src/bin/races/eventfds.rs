// SPDX-License-Identifier: GPL-2.0

//! Tests of eventfds that are assigned, signalled and closed while guests and VMs start and end.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus,
    device::{APIC, Device},
    eventfd::{Eventfd, until_released},
    guest::{Guest, create_raw, doorbell},
    harness::Outcome,
    hypercall::{DESTROY_VM, INJECT_MSI},
    interrupt_guest::{InterruptGuest, Rest, VECTORS},
    need,
    probe::Probe,
    program,
    race::Race,
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::{at_once, end};

const PORT: u16 = 0x510;

/// Issues IRQFD with these flags, for a vector of vCPU 0.
fn irqfd(device: &Device, event: &Eventfd, flags: u32) -> Result<(), Errno> {
    device.irqfd(event, flags, APIC, VECTORS[0].into())
}

/// Issues IOEVENTFD with these flags, for [`PORT`].
fn ioeventfd(device: &Device, event: &Eventfd, flags: u32) -> Result<(), Errno> {
    device.ioeventfd(event, flags | ACRN_IOEVENTFD_FLAG_PIO, PORT.into(), 4)
}

/// A thread assigns and deassigns a range while the guest writes to it. Each write signals the
/// eventfd or is left to the device model, and no write is lost. Upstream's driver loses a write if
/// the range is deassigned after the driver has taken the write and before it has looked up the
/// range.
pub fn ioeventfd_comes_and_goes() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::chatter(PORT));
    let doorbell = doorbell(PORT);
    let event = Eventfd::new();
    let ended = AtomicBool::new(false);
    let signals = AtomicU64::new(0);
    let end = end();
    guest.vm.start().expect("START_VM");
    let requests = thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < end || signals.load(Ordering::Relaxed) == 0 {
                guest
                    .vm
                    .assign_ioeventfd(&event, &doorbell)
                    .expect("IOEVENTFD");
                thread::sleep(Duration::from_micros(300));
                signals.fetch_add(event.take(), Ordering::Relaxed);
                guest
                    .vm
                    .deassign_ioeventfd(&event, &doorbell)
                    .expect("DEASSIGN");
                thread::sleep(Duration::from_micros(300));
            }
            ended.store(true, Ordering::Relaxed);
        });
        guest.serve_until(|_, _| 0, |_, _| ended.load(Ordering::Relaxed))
    });
    let values: Vec<_> = requests.iter().map(|(_, request)| request.value).collect();
    assert!(
        values.is_sorted_by(|one, next| one < next),
        "requests are out of order"
    );
    let last = values.last().expect("the device model served no request");
    let (signals, served) = (signals.into_inner() + event.take(), requests.len() as u64);
    println!("{signals} signals, {served} requests");
    assert_eq!(signals + served, last + 1);
    Outcome::Passed
}

/// A thread assigns and deassigns an irqfd while other threads signal its eventfd. Events that
/// occur while there is no assignment are injected at the next assignment.
pub fn irqfd_comes_and_goes() -> Outcome {
    let receiver = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    let vector = VECTORS[1];
    let event = Eventfd::new();
    let vm = receiver.vm();
    let msi = receiver.msi();
    let assign = || vm.assign_irqfd(&event, msi, vector.into()).expect("IRQFD");
    let end = end();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while Instant::now() < end {
                    event.signal();
                }
            });
        }
        while Instant::now() < end {
            assign();
            vm.deassign_irqfd(&event).expect("DEASSIGN");
        }
    });
    until("the guest counts an interrupt", || {
        assign();
        event.signal();
        vm.deassign_irqfd(&event).expect("DEASSIGN");
        receiver.count(vector) > 0
    });
    receiver.settle();
    let before = receiver.count(vector);
    event.take();
    event.signal();
    receiver.settle();
    receiver.assert_count(vector, before);
    assign();
    receiver.wait(vector, before + 1);
    event.signal();
    receiver.wait(vector, before + 2);
    Outcome::Passed
}

/// One descriptor of an eventfd is closed while another thread deassigns the eventfd by its last
/// descriptor and closes that descriptor. The driver releases the eventfd.
pub fn closed_against_deassign() -> Outcome {
    let (device, _page, _) = create_raw(need!(cpus::pick(1)));
    let end = end();
    let mut ids = Vec::new();
    while Instant::now() < end {
        let event = Eventfd::new();
        let duplicate = event.duplicate();
        irqfd(&device, &event, 0).expect("IRQFD");
        ioeventfd(&device, &event, 0).expect("IOEVENTFD");
        ids.push(event.id());
        let (_, deassigned) = at_once(
            || drop(event),
            || {
                let deassigned = (
                    irqfd(&device, &duplicate, ACRN_IRQFD_FLAG_DEASSIGN),
                    ioeventfd(&device, &duplicate, ACRN_IOEVENTFD_FLAG_DEASSIGN),
                );
                drop(duplicate);
                deassigned
            },
        );
        assert_eq!(deassigned, (Ok(()), Ok(())));
    }
    ids.sort();
    ids.dedup();
    until_released(&ids);
    Outcome::Passed
}

/// Eventfds are closed while their VM is destroyed (R8). The driver releases them.
pub fn closed_against_destroy() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let end = end();
    while Instant::now() < end {
        let (device, _page, _) = create_raw(cpus);
        let events: Vec<_> = (0..8).map(|_| Eventfd::new()).collect();
        let ids: Vec<_> = events.iter().map(Eventfd::id).collect();
        for event in &events {
            irqfd(&device, event, 0).expect("IRQFD");
            ioeventfd(&device, event, 0).expect("IOEVENTFD");
        }
        device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        let (_, destroyed) = at_once(|| drop(events), || device.plain(ACRN_IOCTL_DESTROY_VM));
        assert_eq!(destroyed, Ok(()));
        until_released(&ids);
    }
    Outcome::Passed
}

/// An eventfd is signalled while its VM is destroyed. The driver sends no interrupt to the
/// destroyed VM, because another VM may have its id (R3).
pub fn signals_against_destroy() -> Outcome {
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let end = end();
    let mut injected = 0;
    while Instant::now() < end || injected == 0 {
        let (device, _page, vmid) = create_raw(cpus);
        let event = Eventfd::new();
        irqfd(&device, &event, 0).expect("IRQFD");
        let ended = AtomicBool::new(false);
        let trace = Trace::start(&probe);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    event.signal();
                    thread::sleep(Duration::from_micros(20));
                }
            });
            thread::sleep(Duration::from_millis(5));
            device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
            device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
            thread::sleep(Duration::from_millis(5));
            ended.store(true, Ordering::Relaxed);
        });
        let ids = trace.ids();
        let destroyed = ids.iter().position(|id| *id == DESTROY_VM);
        let (before, after) = ids.split_at(destroyed.expect("DESTROY_VM in the trace"));
        let interrupts = |ids: &[u32]| ids.iter().filter(|id| **id == INJECT_MSI).count();
        assert_eq!(
            interrupts(after),
            0,
            "interrupts for VM {vmid} after DESTROY_VM"
        );
        injected += interrupts(before);
    }
    Outcome::Passed
}

/// All operations on eventfds race on one file whose VM is created and destroyed (R3, R8, A2). The
/// file stays usable.
pub fn eventfds_against_vms() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let device = &need!(Device::open());
    let page = &RequestPage::new().expect("a request page");
    let shared = &Eventfd::new();
    let race = Race::of(6);
    let repeat = |name: &str, command: &mut dyn FnMut() -> Result<(), Errno>| {
        race.repeat(name, || match command() {
            Ok(()) => true,
            // There is no VM, the VM is not paused, or another thread was first. Or the VM has
            // existed for a long time and has the maximum number of ioeventfds.
            Err(Errno::EINVAL | Errno::EPERM | Errno::EEXIST | Errno::EBUSY | Errno::ENOSPC) => {
                false
            }
            Err(error) => panic!("{name}: {error}"),
        });
    };
    let repeat = &repeat;
    thread::scope(|scope| {
        scope.spawn(move || {
            repeat("VMs", &mut || {
                device.create(page, cpus)?;
                device.plain(ACRN_IOCTL_PAUSE_VM)?;
                device.plain(ACRN_IOCTL_DESTROY_VM)
            });
        });
        for (name, call, flag) in [
            (
                "IRQFD",
                irqfd as fn(&Device, &Eventfd, u32) -> Result<(), Errno>,
                ACRN_IRQFD_FLAG_DEASSIGN,
            ),
            ("IOEVENTFD", ioeventfd, ACRN_IOEVENTFD_FLAG_DEASSIGN),
        ] {
            scope.spawn(move || {
                repeat(name, &mut || {
                    call(device, shared, 0)?;
                    call(device, shared, flag)
                });
            });
            // These eventfds are closed while they are assigned.
            scope.spawn(move || repeat(name, &mut || call(device, &Eventfd::new(), 0)));
        }
        scope.spawn(move || {
            repeat("signals", &mut || {
                shared.signal();
                Ok(())
            });
        });
    });
    // The file is still usable.
    device.create(page, cpus).expect("CREATE_VM");
    assert_eq!(irqfd(device, shared, 0), Ok(()));
    assert_eq!(ioeventfd(device, shared, 0), Ok(()));
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    Outcome::Passed
}
