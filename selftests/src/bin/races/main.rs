// SPDX-License-Identifier: GPL-2.0

//! Threads that do not agree, each test for some seconds. What single calls return depends on who was first;
//! that nothing is lost, nothing breaks and nothing is left does not.
//!
//! Races of one command alone are with their programs: `lifecycle` (R1 to R3 without I/O), `io` (R6 and R11),
//! `devices` (R10).

use std::{process::ExitCode, sync::Barrier, thread};

use acrn_selftests::{
    harness::{self, Test},
    race::end,
};

mod clients;
mod eventfds;
mod memory;
mod refusals;
mod upcalls;
mod vms;

/// Calls `first` and `second` at the same moment, each in a thread of its own.
fn at_once<A: Send, B: Send>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            barrier.wait();
            first()
        });
        barrier.wait();
        let second = second();
        (thread.join().expect("a thread"), second)
    })
}

fn main() -> ExitCode {
    harness::main(&[
        Test::new("upcalls_while_vms_come", upcalls::while_vms_come),
        Test::new("upcalls_while_files_come", upcalls::while_files_come),
        Test::new(
            "ioeventfd_comes_and_goes",
            eventfds::ioeventfd_comes_and_goes,
        ),
        Test::new("irqfd_comes_and_goes", eventfds::irqfd_comes_and_goes),
        Test::new("closed_against_deassign", eventfds::closed_against_deassign),
        Test::new("closed_against_destroy", eventfds::closed_against_destroy),
        Test::new("signals_against_destroy", eventfds::signals_against_destroy),
        Test::new("ends_beside_io", vms::ends_beside_io),
        Test::new("refusals_beside_io", refusals::beside_io),
        Test::new("held_refusals_beside_io", refusals::held_beside_io),
        Test::new("requests_against_attach", clients::requests_against_attach),
        Test::new("waiters_come_first", clients::waiters_come_first),
        Test::new(
            "clear_against_destroy_client",
            clients::clear_against_destroy,
        ),
        Test::new("upcalls_while_module_comes", upcalls::while_module_comes),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("eventfds_against_vms", eventfds::against_vms),
        Test::new("clients_under_load", clients::under_load),
        Test::new("memory_fails_beside_memory", memory::fails_beside_another),
        Test::new("one_client_wins", clients::one_wins),
        Test::new("vm_that_stays_beside_io", vms::stays_beside_io),
    ])
}
