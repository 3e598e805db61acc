// SPDX-License-Identifier: GPL-2.0

//! P2: a request from the guest to the device model and back.

use acrn_selftests::{cpus, guest::Guest, harness::Outcome, need, probe::Probe};

use crate::{
    clock::rounds,
    figure::Figure,
    guest::{self, Pace},
};

/// A guest's OUT; ATTACH_IOREQ_CLIENT returns, the device model scans its page, NOTIFY_REQUEST_FINISH.
pub fn round_trip() -> Outcome {
    need!(cpus::stay_on(cpus::UPCALLS));
    let probe = need!(Probe::open());
    let cpu = need!(cpus::pick(1));
    for (work, pace) in [("lone", Pace::Alone), ("back_to_back", Pace::BackToBack)] {
        let guest = Guest::new(cpu);
        let trips = guest::run(&guest, &probe, rounds(), pace);
        Figure::of("P2", work).trips(&trips).tell();
    }
    Outcome::Passed
}
