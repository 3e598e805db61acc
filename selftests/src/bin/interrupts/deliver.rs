// SPDX-License-Identifier: GPL-2.0

//! Tests that interrupts reach the guest.

use std::thread;

use acrn_ioctls::IrqLine;
use acrn_selftests::{
    cpus,
    harness::Outcome,
    interrupt_guest::{InterruptGuest, MASKED_PIN, PIN, Rest, VECTORS},
    need,
    probe::Probe,
    trace::Trace,
};
use mini_acrn_channel::kind;

fn inject(guest: &InterruptGuest, vector: u8) {
    guest
        .vm()
        .inject_msi(guest.msi(), vector.into())
        .expect("INJECT_MSI");
}

fn each_vector(rest: Rest) -> Outcome {
    let guest = InterruptGuest::start(need!(cpus::pick(1)), rest);
    for vector in VECTORS {
        guest.assert_count(vector, 0);
        inject(&guest, vector);
        guest.wait(vector, 1);
    }
    for vector in VECTORS {
        guest.assert_count(vector, 1);
    }
    Outcome::Passed
}

/// MSIs reach a guest that waits in HLT.
pub fn msi_to_halted_guest() -> Outcome {
    each_vector(Rest::Halt)
}

/// MSIs reach a guest that spins without leaving guest mode by itself.
pub fn msi_to_spinning_guest() -> Outcome {
    each_vector(Rest::Spin)
}

/// None of many successive MSIs is lost.
pub fn msi_many() -> Outcome {
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    for count in 1..=200 {
        inject(&guest, VECTORS[0]);
        guest.wait(VECTORS[0], count);
    }
    Outcome::Passed
}

/// Two threads of a device model send MSIs concurrently, and none is lost.
pub fn msi_from_two_threads() -> Outcome {
    let guest = &InterruptGuest::start(need!(cpus::pick(1)), Rest::Spin);
    thread::scope(|scope| {
        for vector in [VECTORS[0], VECTORS[3]] {
            scope.spawn(move || {
                for count in 1..=50 {
                    inject(guest, vector);
                    guest.wait(vector, count);
                }
            });
        }
    });
    Outcome::Passed
}

/// Each VM gets its own MSIs.
pub fn msi_to_two_guests() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let first = InterruptGuest::start(masks[0], Rest::Halt);
    let second = InterruptGuest::start(masks[1], Rest::Halt);
    inject(&first, VECTORS[0]);
    first.wait(VECTORS[0], 1);
    inject(&second, VECTORS[2]);
    second.wait(VECTORS[2], 1);
    first.assert_count(VECTORS[2], 0);
    second.assert_count(VECTORS[0], 0);
    Outcome::Passed
}

/// INJECT_MSI accepts delivery modes that the hypervisor does not support, without any effect.
pub fn msi_of_other_mode() -> Outcome {
    const SMI: u64 = 2 << 8;
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    guest
        .vm()
        .inject_msi(guest.msi(), SMI | u64::from(VECTORS[0]))
        .expect("INJECT_MSI");
    inject(&guest, VECTORS[2]);
    guest.wait(VECTORS[2], 1);
    guest.assert_count(VECTORS[0], 0);
    Outcome::Passed
}

/// The trace shows delivered interrupts.
pub fn msi_in_trace() -> Outcome {
    let probe = need!(Probe::open());
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    let trace = Trace::start(&probe);
    inject(&guest, VECTORS[2]);
    guest.wait(VECTORS[2], 1);
    let delivered = trace.events(kind::INTERRUPT);
    let seen: Vec<_> = delivered
        .iter()
        .map(|record| (record.vmid, record.p1, record.p2))
        .collect();
    let expected = (guest.vm().vmid(), 0, u64::from(VECTORS[2]));
    assert!(seen.contains(&expected), "delivered: {seen:?}");
    Outcome::Passed
}

/// A pulse of a line causes one interrupt.
pub fn line_pulse() -> Outcome {
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    let (gsi, vector) = PIN;
    for count in 1..=20 {
        guest
            .vm()
            .set_irqline(gsi, IrqLine::RisingPulse)
            .expect("SET_IRQLINE");
        guest.wait(vector, count);
    }
    Outcome::Passed
}

/// Each rise of an edge-triggered line causes one interrupt. Other changes cause none.
pub fn line_high_and_low() -> Outcome {
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Spin);
    let (gsi, vector) = PIN;
    let set = |line| guest.vm().set_irqline(gsi, line).expect("SET_IRQLINE");
    set(IrqLine::Low);
    guest.assert_count(vector, 0);
    for count in 1..=5 {
        set(IrqLine::High);
        guest.wait(vector, count);
        set(IrqLine::High);
        set(IrqLine::Low);
    }
    // A superfluous interrupt would arrive before this one.
    inject(&guest, VECTORS[0]);
    guest.wait(VECTORS[0], 1);
    guest.assert_count(vector, 5);
    Outcome::Passed
}

/// A pin that the guest has masked causes no interrupt.
pub fn line_masked() -> Outcome {
    let guest = InterruptGuest::start(need!(cpus::pick(1)), Rest::Halt);
    let (gsi, vector) = MASKED_PIN;
    guest
        .vm()
        .set_irqline(gsi, IrqLine::RisingPulse)
        .expect("SET_IRQLINE");
    inject(&guest, VECTORS[0]);
    guest.wait(VECTORS[0], 1);
    guest.assert_count(vector, 0);
    Outcome::Passed
}
