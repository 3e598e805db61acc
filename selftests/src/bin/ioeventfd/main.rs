// SPDX-License-Identifier: GPL-2.0

//! Tests of IOEVENTFD, which makes writes of a guest signal an eventfd. These writes do not reach
//! the device model.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod answer;
mod arguments;
mod assign;
mod ending;
mod guest;
mod range;
mod signal;

fn main() -> ExitCode {
    harness::main(&tests![
        arguments::without_vm,
        arguments::unknown_flags,
        arguments::async_flag_is_ignored,
        arguments::reserved_field,
        arguments::lengths,
        arguments::wrapping_ranges,
        arguments::descriptors,
        signal::each_length_and_width,
        signal::inside_and_partly_inside,
        signal::overlapping_ranges,
        signal::range_inside_another,
        signal::partly_overlapping_ranges,
        signal::port_is_no_address,
        signal::data_match,
        signal::data_of_64_bits,
        signal::data_without_flag,
        signal::data_match_is_masked,
        signal::narrow_write_to_many_values,
        signal::each_of_several,
        signal::each_that_matches,
        signal::one_for_several_values,
        signal::counter,
        signal::every_vcpu,
        signal::two_vms,
        signal::pci_ports,
        signal::hostile_size,
        answer::one_notification_each,
        answer::completion_polling,
        answer::device_model_sleeps,
        answer::without_client,
        answer::beside_the_device_model,
        answer::behind_a_request_without_client,
        answer::assigned_while_pending,
        assign::same_again,
        assign::deassign_is_exact,
        assign::deassign_by_data,
        assign::deassign_by_high_half,
        assign::deassign_without_data,
        assign::deassign_by_descriptor,
        assign::deassign_inexact,
        assign::deassign_of_nothing,
        assign::deassign_one_of_two,
        assign::deassign_longest,
        assign::again_and_again,
        assign::many_ranges.within(120),
        assign::too_many_ranges,
        assign::too_many_at_a_place,
        guest::each_instruction,
        guest::in_turns,
        guest::two_vcpus,
        guest::deassign_while_writing,
        guest::assign_while_waiting,
        ending::destroy_releases,
        ending::deassign_releases,
        ending::reused_descriptor,
        ending::reset_keeps,
        ending::client_goes,
        ending::destroy_while_writing,
        ending::destroy_waits_for_upcall,
        // The tests from here on may damage upstream's driver, and affect the tests after them.
        ending::next_vm_has_none,
        ending::close_releases,
        ending::close_while_writing,
        ending::killed_while_writing,
        ending::victim.helper(),
    ])
}
