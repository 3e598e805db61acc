// SPDX-License-Identifier: GPL-2.0

//! I/O requests: what a guest does to ports and addresses that nothing backs, and what it gets for it.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod abandoned;
mod at_once;
mod budget;
mod clients;
mod in_flight;
mod neighbours;
mod pci_config;
mod polling;
mod reset;
mod slots;
mod values;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("port_io_of_each_width", values::port_io_of_each_width),
        Test::new("port_io_in_real_mode", values::port_io_in_real_mode),
        Test::new("mmio_of_each_width", values::mmio_of_each_width),
        Test::new("two_vms_two_vcpus_each", values::two_vms_two_vcpus_each),
        Test::new("many_requests_in_a_row", values::many_requests_in_a_row),
        Test::new("polling_is_never_notified", polling::never_notified),
        Test::new("taken_at_once", at_once::taken_at_once),
        Test::new("storm", budget::storm),
        Test::new("storm_after_silence", budget::storm_after_silence),
        Test::new("two_storms", budget::two_storms),
        Test::new("alone", budget::alone),
        Test::new("alone_beside_storm", budget::alone_beside_storm),
        Test::new("thread_has_a_name", budget::thread_has_a_name),
        Test::new("config_of_guest", pci_config::of_guest),
        Test::new("config_address_latches", pci_config::address_latches),
        Test::new("config_access_folds", pci_config::access_folds),
        Test::new(
            "config_disabled_is_all_ones",
            pci_config::disabled_is_all_ones,
        ),
        Test::new(
            "config_narrow_address_passes",
            pci_config::narrow_address_passes,
        ),
        Test::new("config_of_two_vms_apart", pci_config::two_vms_apart),
        Test::new(
            "config_address_has_low_bits",
            pci_config::address_has_low_bits,
        ),
        Test::new("config_neighbours_pass", pci_config::neighbours_pass),
        Test::new("config_requests_pass", pci_config::requests_pass),
        Test::new("config_requests_abandoned", pci_config::requests_abandoned),
        Test::new("request_before_client", clients::request_before_client),
        Test::new(
            "destroy_client_frees_vcpu",
            clients::destroy_client_frees_vcpu,
        ),
        Test::new(
            "clear_completes_requests",
            clients::clear_completes_requests,
        ),
        Test::new("next_client_serves", clients::next_client_serves),
        Test::new(
            "attach_returns_while_unserved",
            clients::attach_returns_while_unserved,
        ),
        Test::new(
            "each_request_wakes_a_thread",
            clients::each_request_wakes_a_thread,
        ),
        Test::new("cleared_request_is_gone", clients::cleared_request_is_gone),
        Test::new(
            "ioeventfd_takes_waiting_request",
            clients::ioeventfd_takes_waiting_request,
        ),
        Test::new(
            "destroy_client_frees_each_vcpu",
            clients::destroy_client_frees_each_vcpu,
        ),
        Test::new(
            "destroy_client_reads_all_ones",
            abandoned::destroy_client_reads_all_ones,
        ),
        Test::new("clear_reads_all_ones", abandoned::clear_reads_all_ones),
        Test::new("clear_without_client", abandoned::clear_without_client),
        Test::new("reset_drops_request", reset::drops_request),
        Test::new("reset_clears_config_address", reset::clears_config_address),
        Test::new("reset_refused", reset::refused),
        Test::new(
            "reset_refused_keeps_config_address",
            reset::refused_keeps_config_address,
        ),
        Test::new("reset_of_several_vcpus", reset::of_several_vcpus),
        Test::new("reset_holds_the_gate", in_flight::reset_holds_the_gate),
        Test::new("destroy_holds_the_gate", in_flight::destroy_holds_the_gate),
        Test::new("reset_is_alone", in_flight::reset_is_alone),
        Test::new("notify_twice", slots::notify_twice),
        Test::new("notify_free_slot", slots::notify_free_slot),
        Test::new("notify_unknown_vcpu", slots::notify_unknown_vcpu),
        Test::new("notify_without_client", slots::notify_without_client),
        Test::new("completion_polling", slots::completion_polling),
        Test::new(
            "completed_by_device_model",
            slots::completed_by_device_model,
        ),
        Test::new("last_slot", slots::last_slot),
        Test::new("spurious_upcall", slots::spurious_upcall),
        Test::new("repeated_upcall", slots::repeated_upcall),
        Test::new(
            "silent_request_found_later",
            slots::silent_request_found_later,
        ),
        Test::new("hostile_page", slots::hostile_page),
        Test::new(
            "kernel_handled_is_cleared",
            slots::kernel_handled_is_cleared,
        ),
        Test::new(
            "scribbled_slot_is_refused",
            slots::scribbled_slot_is_refused,
        ),
        Test::new("notify_names_the_vm", slots::notify_names_the_vm),
        Test::new("completed_then_abandoned", slots::completed_then_abandoned),
        Test::new("other_vms_come_and_go", neighbours::other_vms_come_and_go),
        Test::new("scribbled_page", neighbours::scribbled_page),
    ])
}
