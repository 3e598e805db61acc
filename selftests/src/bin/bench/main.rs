// SPDX-License-Identifier: GPL-2.0

//! What the paths through the driver cost: figures, of which `make bench` makes a table of our driver against
//! upstream's. It has the machine count instructions; by another clock the figures mean nothing.
//!
//! A test is a path, with the name that it has in that table. It fails if the path cannot be gone, however long it takes.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod calls;
mod clock;
mod close;
mod figure;
mod guest;
mod hypervisor;
mod ioeventfds;
mod irqfd;
mod isolation;
mod kernel_memory;
mod memory;
mod metronome;
mod one_cpu;
mod requests;
mod scale;
mod storm;
mod vms;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("P1", calls::plain).telling(),
        Test::new("P2", requests::round_trip).telling(),
        Test::new("P3", ioeventfds::write).telling(),
        Test::new("P4", irqfd::write).telling(),
        Test::new("P5", memory::set_and_destroy).telling(),
        Test::new("P6", memory::held).telling(),
        Test::new("P7", isolation::beside_lives).telling(),
        Test::new("P8", scale::beside_idle_vms).telling(),
        Test::new("P9", vms::create_and_destroy).telling(),
        Test::new("P11", storm::thread_beside).telling(),
        Test::new("P12", storm::vm_beside).telling(),
        // Upstream's driver leaves something behind there.
        Test::new("P10", close::killed).telling(),
        Test::helper("victim", close::victim),
    ])
}
