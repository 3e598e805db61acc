// SPDX-License-Identifier: GPL-2.0

//! Tests of interrupts that the device model sends to the guest.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod deliver;
mod hypercall_args;
mod in_flight;

fn main() -> ExitCode {
    harness::main(&tests![
        hypercall_args::msi_parameters,
        hypercall_args::line_parameters,
        hypercall_args::msi_to_nowhere,
        hypercall_args::unknown_line,
        hypercall_args::errors_passed_on,
        hypercall_args::results_that_are_no_errno,
        hypercall_args::positive_results,
        hypercall_args::paused_answers_the_same,
        in_flight::pause_waits,
        in_flight::msis_at_once,
        deliver::msi_to_halted_guest,
        deliver::msi_to_spinning_guest,
        deliver::msi_many,
        deliver::msi_from_two_threads,
        deliver::msi_to_two_guests,
        deliver::msi_of_other_mode,
        deliver::msi_in_trace,
        deliver::line_pulse,
        deliver::line_high_and_low,
        deliver::line_masked,
    ])
}
