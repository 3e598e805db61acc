// SPDX-License-Identifier: GPL-2.0

//! Devices that a User VM is given, and what is counted of their interrupts.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod command;
mod hypercall_args;
mod monitor;
mod ownership;
mod quiesce;
mod typed;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("bytes_arrive", hypercall_args::bytes_arrive),
        Test::new("errors_passed_on", hypercall_args::errors_passed_on),
        Test::new("given_and_taken", ownership::given_and_taken),
        Test::new("line_of_a_device", ownership::line_of_a_device),
        Test::new("one_owner", ownership::one_owner),
        Test::new("state_matters", ownership::state_matters),
        Test::new("each_by_acrn_ioctls", typed::each_device),
        Test::new("line_is_padded", hypercall_args::line_is_padded),
        Test::new("monitor_counts_arrive", monitor::counts_arrive),
        Test::new("monitor_request_arrives", monitor::request_arrives),
        Test::new("monitor_any_address", monitor::any_address_in_the_page),
        Test::new("monitor_errors_passed_on", monitor::errors_passed_on),
        Test::new(
            "monitor_refused_writes_nothing",
            monitor::refused_writes_nothing,
        ),
        Test::new("monitor_bad_pages", monitor::bad_pages),
        Test::new("monitor_by_acrn_ioctls", typed::monitor),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new(
            "monitor_nothing_stays_pinned",
            monitor::nothing_stays_pinned,
        ),
        Test::new("monitor_two_threads", monitor::two_threads),
        Test::new("refused_parks_nothing", ownership::refused_parks_nothing),
        Test::new("free_after_close", ownership::free_after_close),
        Test::new("left_over_taken_back", quiesce::taken_back),
        Test::new("left_over_refused", quiesce::refused),
        Test::new(
            "left_over_behind_missing",
            quiesce::behind_one_that_is_missing,
        ),
        Test::new("left_over_not_taken_back", quiesce::not_taken_back),
        Test::new("left_over_without_reset", quiesce::without_reset),
        Test::new("left_over_with_reset", quiesce::with_reset),
        Test::helper("victim", quiesce::victim),
    ])
}
