// SPDX-License-Identifier: GPL-2.0

//! P2: a request from the guest to the device model and back.

use acrn_selftests::{cpus, guest::Guest, harness::Outcome, need, probe::Probe};

use crate::{
    clock::rounds,
    figure::Figure,
    guest::{self, Pace},
};

/// Measures a guest's OUT: ATTACH_IOREQ_CLIENT returns, the device model scans the request page and
/// makes NOTIFY_REQUEST_FINISH.
pub fn round_trip() -> Outcome {
    need!(cpus::stay_on(cpus::UPCALLS));
    let probe = need!(Probe::open());
    let cpu = need!(cpus::pick(1));
    let run = |pace| guest::run(&Guest::new(cpu), &probe, rounds(), pace);
    let lone = run(Pace::Alone);
    Figure::of("P2", "lone").trips(&lone).print();
    let busy = run(Pace::BackToBack);
    Figure::of("P2", "back_to_back").average(&busy).print();
    Outcome::Passed
}
