// SPDX-License-Identifier: GPL-2.0

//! Interrupts that the device model sends to the guest.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod deliver;
mod hypercall_args;
mod in_flight;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("msi_parameters", hypercall_args::msi_parameters),
        Test::new("line_parameters", hypercall_args::line_parameters),
        Test::new("msi_to_nowhere", hypercall_args::msi_to_nowhere),
        Test::new("unknown_line", hypercall_args::unknown_line),
        Test::new("errors_passed_on", hypercall_args::errors_passed_on),
        Test::new(
            "results_that_are_no_errno",
            hypercall_args::results_that_are_no_errno,
        ),
        Test::new("positive_results", hypercall_args::positive_results),
        Test::new(
            "paused_answers_the_same",
            hypercall_args::paused_answers_the_same,
        ),
        Test::new("pause_waits", in_flight::pause_waits),
        Test::new("msi_to_halted_guest", deliver::msi_to_halted_guest),
        Test::new("msi_to_spinning_guest", deliver::msi_to_spinning_guest),
        Test::new("msi_many", deliver::msi_many),
        Test::new("msi_from_two_threads", deliver::msi_from_two_threads),
        Test::new("msi_to_two_guests", deliver::msi_to_two_guests),
        Test::new("msi_of_other_mode", deliver::msi_of_other_mode),
        Test::new("msi_in_trace", deliver::msi_in_trace),
        Test::new("line_pulse", deliver::line_pulse),
        Test::new("line_high_and_low", deliver::line_high_and_low),
        Test::new("line_masked", deliver::line_masked),
    ])
}
