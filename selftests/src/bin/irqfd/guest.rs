// SPDX-License-Identifier: GPL-2.0

//! Tests of irqfds with guests that count their interrupts.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use acrn_ioctls::{IoEvent, IoEventAddress, Target, Width};
use acrn_selftests::{
    cpus,
    eventfd::Eventfd,
    guest::doorbell,
    harness::Outcome,
    hypercall::INJECT_MSI,
    interrupt_guest::{InterruptGuest, Rest, VECTORS},
    need,
    probe::Probe,
    program::write,
    scripted_vm::request,
    trace::Trace,
};

fn assigned(guest: &InterruptGuest, vector: u8) -> Eventfd {
    let event = Eventfd::new();
    guest
        .vm()
        .assign_irqfd(&event, guest.msi(), vector.into())
        .expect("IRQFD");
    event
}

fn each_vector(rest: Rest) -> Outcome {
    let guest = InterruptGuest::start(need!(cpus::pick(1)), rest);
    let events = VECTORS.map(|vector| assigned(&guest, vector));
    for count in 1..=3 {
        for (event, vector) in events.iter().zip(VECTORS) {
            event.signal();
            guest.wait(vector, count);
        }
    }
    for vector in VECTORS {
        guest.assert_count(vector, 3);
    }
    Outcome::Passed
}

/// Interrupts reach a guest that waits in HLT.
pub fn to_halted_guest() -> Outcome {
    each_vector(Rest::Halt)
}

/// Interrupts reach a guest that spins without leaving guest mode by itself.
pub fn to_spinning_guest() -> Outcome {
    each_vector(Rest::Spin)
}

/// Assigning an eventfd that was signalled before interrupts the guest.
pub fn signalled_before_to_guest() -> Outcome {
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    let vector = VECTORS[0];
    let event = Eventfd::new();
    event.signal();
    guest
        .vm()
        .assign_irqfd(&event, guest.msi(), vector.into())
        .expect("IRQFD");
    guest.wait(vector, 1);
    Outcome::Passed
}

/// Each VM gets its own interrupts, and two VMs can share an eventfd.
pub fn two_guests() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let first = InterruptGuest::start(masks[0], Rest::Halt);
    let second = InterruptGuest::start(masks[1], Rest::Halt);
    let own = (assigned(&first, VECTORS[0]), assigned(&second, VECTORS[1]));
    let shared = assigned(&first, VECTORS[2]);
    second
        .vm()
        .assign_irqfd(&shared, second.msi(), VECTORS[3].into())
        .expect("IRQFD");
    own.0.signal();
    first.wait(VECTORS[0], 1);
    own.1.signal();
    second.wait(VECTORS[1], 1);
    shared.signal();
    first.wait(VECTORS[2], 1);
    second.wait(VECTORS[3], 1);
    let counts = |guest: &InterruptGuest| VECTORS.map(|vector| guest.count(vector));
    assert_eq!(counts(&first), [1, 0, 1, 0]);
    assert_eq!(counts(&second), [0, 1, 0, 1]);
    Outcome::Passed
}

/// Several threads, each with its own eventfd, interrupt a guest concurrently.
pub fn from_several_threads() -> Outcome {
    const COUNT: u64 = 50;
    let guest = &InterruptGuest::start(need!(cpus::pick(1)), Rest::Spin);
    thread::scope(|scope| {
        for vector in VECTORS {
            scope.spawn(move || {
                let event = assigned(guest, vector);
                for count in 1..=COUNT {
                    event.signal();
                    guest.wait(vector, count);
                }
            });
        }
    });
    Outcome::Passed
}

/// Several threads write to one eventfd as fast as possible.
///
/// The hypervisor may coalesce interrupts of one vector, but the driver sends one for each write,
/// and one arrives after the last write.
pub fn one_event_of_several_threads() -> Outcome {
    const THREADS: usize = 4;
    const COUNT: usize = 200;
    let probe = need!(Probe::open());
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    let vector = VECTORS[0];
    let event = &assigned(&guest, vector);
    for _ in 0..3 {
        let trace = Trace::start(&probe);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..COUNT).for_each(|_| event.signal()));
            }
        });
        assert_eq!(trace.calls(INJECT_MSI).len(), THREADS * COUNT);
        // Interrupts in flight arrive while this thread sleeps. No others follow.
        thread::sleep(Duration::from_millis(200));
        let count = guest.count(vector);
        event.signal();
        guest.wait(vector, count + 1);
    }
    Outcome::Passed
}

/// The number of interrupts does not depend on another thread that reads the eventfd concurrently.
pub fn with_another_reader() -> Outcome {
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    let vector = VECTORS[0];
    let event = &assigned(&guest, vector);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                event.take();
            }
        });
        for count in 1..=50 {
            event.signal();
            guest.wait(vector, count);
        }
        ended.store(true, Ordering::Relaxed);
    });
    Outcome::Passed
}

/// If one eventfd belongs to a port of one VM and to an interrupt of another VM, a write to the
/// port interrupts the other VM, without any process.
pub fn doorbell_to_another_vm() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let writer = InterruptGuest::start(masks[0], Rest::Halt);
    let guest = InterruptGuest::start(masks[1], Rest::Halt);
    let vector = VECTORS[0];
    let doorbell = doorbell(0x510);
    let event = assigned(&guest, vector);
    writer
        .vm()
        .assign_ioeventfd(&event, &doorbell)
        .expect("IOEVENTFD");
    let access = write(Target::Port(0x510), Width::Four, 0);
    for count in 1..=20 {
        writer.until_free(0);
        let raised = probe.raise(request(writer.vm().vmid(), 0, access));
        assert_eq!(raised, 0, "RAISE_REQUEST");
        guest.wait(vector, count);
    }
    writer.assert_count(vector, 0);
    Outcome::Passed
}

/// A VM interrupts itself if one eventfd belongs to its port and to its interrupt.
pub fn doorbell_to_itself() -> Outcome {
    let probe = need!(Probe::open());
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Spin);
    let vector = VECTORS[0];
    let doorbell = IoEvent {
        address: IoEventAddress::Mmio(0xd000_0000),
        len: 8,
        datamatch: Some(7),
    };
    let event = assigned(&guest, vector);
    guest
        .vm()
        .assign_ioeventfd(&event, &doorbell)
        .expect("IOEVENTFD");
    for count in 1..=20 {
        for value in [6, 7] {
            let access = write(Target::Memory(0xd000_0000), Width::Eight, value);
            guest.until_free(0);
            let raised = probe.raise(request(guest.vm().vmid(), 0, access));
            assert_eq!(raised, 0, "RAISE_REQUEST");
        }
        guest.wait(vector, count);
    }
    Outcome::Passed
}
