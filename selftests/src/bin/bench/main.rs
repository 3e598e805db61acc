// SPDX-License-Identifier: GPL-2.0

//! What the paths through the driver cost: figures, of which `make bench` makes a table of our driver against
//! upstream's. It has the machine count instructions; by another clock the figures mean nothing.
//!
//! A test is a path, with the name that it has in that table. It fails if the path cannot be gone, however long it takes.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod calls;
mod clock;
mod figure;
mod guest;
mod hypervisor;
mod ioeventfds;
mod irqfd;
mod requests;
mod scale;
mod vms;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("P1", calls::plain).telling(),
        Test::new("P2", requests::round_trip).telling(),
        Test::new("P3", ioeventfds::write).telling(),
        Test::new("P4", irqfd::write).telling(),
        Test::new("P8", scale::beside_idle_vms).telling(),
        Test::new("P9", vms::create_and_destroy).telling(),
    ])
}
