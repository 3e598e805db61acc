// SPDX-License-Identifier: GPL-2.0

//! P3: a write of the guest signals an eventfd.

use acrn_selftests::{
    cpus,
    eventfd::Eventfd,
    guest::{Guest, doorbell},
    harness::Outcome,
    need,
    probe::Probe,
};

use crate::{
    clock::rounds,
    figure::Figure,
    guest::{self, PORT, Pace},
};

/// First port of other ranges, which no guest writes to.
const OTHERS: u16 = 0x1000;

/// Measures a guest's OUT to the last one of 1, 16 and 256 assigned ranges.
pub fn write() -> Outcome {
    need!(cpus::stay_on(cpus::UPCALLS));
    let probe = need!(Probe::open());
    let cpu = need!(cpus::pick(1));
    let mut medians = Vec::new();
    for ranges in [1, 16, 256] {
        let guest = Guest::new(cpu);
        let _events = assign(&guest, ranges);
        let trips = guest::run(&guest, &probe, rounds(), Pace::Alone);
        Figure::of("P3", &format!("{ranges}_ranges"))
            .trips(&trips)
            .print();
        medians.push(trips.samples.median());
    }
    Figure::of("P3", "growth")
        .ratio(medians[2], medians[0])
        .print();
    let guest = Guest::new(cpu);
    let _events = assign(&guest, 1);
    let trips = guest::run(&guest, &probe, rounds(), Pace::BackToBack);
    Figure::of("P3", "back_to_back").average(&trips).print();
    Outcome::Passed
}

/// Assigns `ranges` ranges: first other ports, then the guest's port.
pub fn assign(guest: &Guest, ranges: u16) -> Vec<Eventfd> {
    let others = (1..ranges).map(|other| OTHERS + 8 * other);
    let assigned = others.chain([PORT]).map(|port| {
        let event = Eventfd::new();
        let range = doorbell(port);
        guest
            .vm
            .assign_ioeventfd(&event, &range)
            .expect("IOEVENTFD");
        event
    });
    assigned.collect()
}
