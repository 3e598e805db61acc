// SPDX-License-Identifier: GPL-2.0

//! IOEVENTFD: writes of a guest that signal an eventfd, and never get to the device model.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod answer;
mod arguments;
mod assign;
mod ending;
mod guest;
mod range;
mod signal;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("without_vm", arguments::without_vm),
        Test::new("unknown_flags", arguments::unknown_flags),
        Test::new("async_flag_is_ignored", arguments::async_flag_is_ignored),
        Test::new("reserved_field", arguments::reserved_field),
        Test::new("lengths", arguments::lengths),
        Test::new("wrapping_ranges", arguments::wrapping_ranges),
        Test::new("descriptors", arguments::descriptors),
        Test::new("each_length_and_width", signal::each_length_and_width),
        Test::new("inside_and_partly_inside", signal::inside_and_partly_inside),
        Test::new("overlapping_ranges", signal::overlapping_ranges),
        Test::new("range_inside_another", signal::range_inside_another),
        Test::new(
            "partly_overlapping_ranges",
            signal::partly_overlapping_ranges,
        ),
        Test::new("port_is_no_address", signal::port_is_no_address),
        Test::new("data_match", signal::data_match),
        Test::new("data_of_64_bits", signal::data_of_64_bits),
        Test::new("data_without_flag", signal::data_without_flag),
        Test::new("data_match_is_masked", signal::data_match_is_masked),
        Test::new(
            "narrow_write_to_many_values",
            signal::narrow_write_to_many_values,
        ),
        Test::new("each_of_several", signal::each_of_several),
        Test::new("each_that_matches", signal::each_that_matches),
        Test::new("one_for_several_values", signal::one_for_several_values),
        Test::new("counter", signal::counter),
        Test::new("every_vcpu", signal::every_vcpu),
        Test::new("two_vms", signal::two_vms),
        Test::new("pci_ports", signal::pci_ports),
        Test::new("hostile_size", signal::hostile_size),
        Test::new("one_notification_each", answer::one_notification_each),
        Test::new("completion_polling", answer::completion_polling),
        Test::new("device_model_sleeps", answer::device_model_sleeps),
        Test::new("without_client", answer::without_client),
        Test::new("beside_the_device_model", answer::beside_the_device_model),
        Test::new(
            "behind_a_request_without_client",
            answer::behind_a_request_without_client,
        ),
        Test::new("assigned_while_pending", answer::assigned_while_pending),
        Test::new("same_again", assign::same_again),
        Test::new("deassign_is_exact", assign::deassign_is_exact),
        Test::new("deassign_by_data", assign::deassign_by_data),
        Test::new("deassign_by_high_half", assign::deassign_by_high_half),
        Test::new("deassign_without_data", assign::deassign_without_data),
        Test::new("deassign_by_descriptor", assign::deassign_by_descriptor),
        Test::new("deassign_inexact", assign::deassign_inexact),
        Test::new("deassign_of_nothing", assign::deassign_of_nothing),
        Test::new("deassign_one_of_two", assign::deassign_one_of_two),
        Test::new("deassign_longest", assign::deassign_longest),
        Test::new("again_and_again", assign::again_and_again),
        Test::new("many_ranges", assign::many_ranges).within(120),
        Test::new("too_many_ranges", assign::too_many_ranges),
        Test::new("too_many_at_a_place", assign::too_many_at_a_place),
        Test::new("each_instruction", guest::each_instruction),
        Test::new("in_turns", guest::in_turns),
        Test::new("two_vcpus", guest::two_vcpus),
        Test::new("deassign_while_writing", guest::deassign_while_writing),
        Test::new("assign_while_waiting", guest::assign_while_waiting),
        Test::new("destroy_releases", ending::destroy_releases),
        Test::new("deassign_releases", ending::deassign_releases),
        Test::new("reused_descriptor", ending::reused_descriptor),
        Test::new("reset_keeps", ending::reset_keeps),
        Test::new("client_goes", ending::client_goes),
        Test::new("destroy_while_writing", ending::destroy_while_writing),
        Test::new("destroy_waits_for_upcall", ending::destroy_waits_for_upcall),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("next_vm_has_none", ending::next_vm_has_none),
        Test::new("close_releases", ending::close_releases),
        Test::new("close_while_writing", ending::close_while_writing),
        Test::new("killed_while_writing", ending::killed_while_writing),
        Test::helper("victim", ending::victim),
    ])
}
