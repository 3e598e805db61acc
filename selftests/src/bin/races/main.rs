// SPDX-License-Identifier: GPL-2.0

//! Tests of threads that race. Each test runs for some seconds. The results of single calls depend
//! on the order of the threads. In any order, the driver loses no request or event, does not break,
//! and leaves no resource behind.
//!
//! Other programs test races of a single command: `lifecycle` (R1 to R3 without I/O), `io` (R6 and
//! R11) and `devices` (R10).

use std::{process::ExitCode, sync::Barrier, thread};

use acrn_selftests::{harness, race::end, tests};

mod clients;
mod eventfds;
mod memory;
mod refusals;
mod upcalls;
mod vms;

/// Calls `first` and `second` at the same time, each in a thread of its own.
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
        (thread.join().expect("a thread panicked"), second)
    })
}

fn main() -> ExitCode {
    harness::main(&tests![
        upcalls::upcalls_while_vms_come,
        upcalls::upcalls_while_files_come,
        eventfds::ioeventfd_comes_and_goes,
        eventfds::irqfd_comes_and_goes,
        eventfds::closed_against_deassign,
        eventfds::closed_against_destroy,
        eventfds::signals_against_destroy,
        vms::ends_beside_io,
        refusals::refusals_beside_io,
        refusals::held_refusals_beside_io,
        clients::requests_against_attach,
        clients::waiters_come_first,
        clients::clear_against_destroy_client,
        upcalls::upcalls_while_module_comes,
        // The tests from here on may break upstream's driver, and with it the tests after them.
        eventfds::eventfds_against_vms,
        clients::clients_under_load,
        memory::memory_fails_beside_memory,
        clients::one_client_wins,
        vms::vm_that_stays_beside_io,
    ])
}
