// SPDX-License-Identifier: GPL-2.0

//! P4: an eventfd interrupts the guest.

use acrn_selftests::{
    cpus, eventfd::Eventfd, harness::Outcome, mapping_fixture::MappingFixture, need,
};

use crate::{
    calls::QUIET,
    clock::{Samples, rounds, warm_up},
    figure::Figure,
    hypervisor::Hypervisor,
};

/// Measures a write to the eventfd.
pub fn write() -> Outcome {
    need!(cpus::stay_on(QUIET));
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::new();
    let mut signal = || event.signal();
    warm_up(&mut signal);
    let null = Samples::take(rounds(), signal);

    let msi_addr = fixture.msi();
    event.take();
    fixture
        .device
        .irqfd(&event, 0, msi_addr, 0x41)
        .expect("IRQFD");
    warm_up(&mut signal);
    let hypervisor = Hypervisor::watch(&fixture.probe);
    let samples = Samples::take(rounds(), signal);
    let spent = hypervisor.spent(samples.count());
    Figure::of("P4", "irqfd")
        .times(&samples)
        .with("null", null.median())
        .with("hypervisor", spent)
        .print();
    Outcome::Passed
}
