// SPDX-License-Identifier: GPL-2.0

//! What acrn-dm does to the driver, in its order and from its threads, with guests that run: each way in which
//! a guest may end, and a start after each, again and again.
//!
//! acrn-dm finishes requests during and after PAUSE_VM, and its threads send interrupts at any time. The
//! hypervisor would let a paused vCPU run on for that: no such hypercall may be made until RESET_VM or
//! DESTROY_VM.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod endings;
mod guest;
mod model;
mod resets;
mod signals;
mod watch;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("power_off", endings::powers_off).within(180),
        Test::new("power_off_for_ever", endings::powers_off_for_ever).within(180),
        Test::new("full_reset", endings::resets_fully).within(180),
        Test::new("system_reset", resets::resets).within(180),
        Test::new(
            "system_reset_shared_memory",
            resets::resets_with_shared_memory,
        )
        .within(180),
        Test::new("system_reset_rom", resets::resets_with_rom).within(180),
        Test::new(
            "system_reset_from_first_thread",
            resets::resets_from_first_thread,
        )
        .within(180),
        Test::new("suspend", resets::suspends).within(180),
        Test::new("vhost", endings::gives_eventfds_back).within(180),
        Test::new("passed_through_device", endings::gives_device_back).within(180),
        Test::new("watchdog", signals::watchdog),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("killed", signals::killed).within(180),
        Test::new(
            "killed_in_refused_destroy",
            signals::killed_in_refused_destroy,
        )
        .within(180),
        Test::helper("victim", signals::victim),
        Test::helper("refused_victim", signals::refused_victim),
        Test::helper("paused_victim", signals::paused_victim),
        // The test-bed reboots under it.
        Test::helper("stubborn_victim", signals::stubborn_victim),
    ])
}
