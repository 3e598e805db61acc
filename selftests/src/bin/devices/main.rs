// SPDX-License-Identifier: GPL-2.0

//! Devices of a User VM, and the counts of their interrupts.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod command;
mod hypercall_args;
mod mmio;
mod monitor;
mod ownership;
mod quiesce;
mod typed;

fn main() -> ExitCode {
    harness::main(&tests![
        hypercall_args::bytes_arrive,
        hypercall_args::errors_passed_on,
        ownership::assigned_and_deassigned,
        ownership::line_of_a_device,
        ownership::one_owner,
        ownership::state_matters,
        typed::each_by_acrn_ioctls,
        hypercall_args::line_is_padded,
        monitor::monitor_counts_arrive,
        monitor::monitor_fewer_than_two_entries,
        monitor::monitor_request_arrives,
        monitor::monitor_any_address,
        monitor::monitor_errors_passed_on,
        monitor::monitor_refused_writes_nothing,
        monitor::monitor_bad_pages,
        typed::monitor_by_acrn_ioctls,
        // The tests from here on may break upstream's driver, and the tests after them.
        monitor::monitor_nothing_stays_pinned,
        monitor::monitor_two_threads,
        ownership::refused_parks_nothing,
        ownership::free_after_close,
        mmio::mmio_given_back,
        mmio::mmio_of_vm_that_stays,
        mmio::mmio_of_orphan,
        mmio::mmio_limit,
        quiesce::left_over_taken_back,
        quiesce::left_over_refused,
        quiesce::left_over_of_orphan,
        quiesce::destroyed_beside_assignment,
        quiesce::left_over_of_doubtful_destroy,
        quiesce::left_over_and_assigned_again,
        quiesce::left_over_behind_missing,
        quiesce::left_over_not_taken_back,
        quiesce::left_over_without_reset,
        quiesce::left_over_with_reset,
        quiesce::victim.helper(),
    ])
}
