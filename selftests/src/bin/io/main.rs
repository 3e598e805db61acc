// SPDX-License-Identifier: GPL-2.0

//! Tests of I/O requests: a guest's accesses to ports and addresses without a device, and their
//! results.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

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
    harness::main(&tests![
        values::port_io_of_each_width,
        values::port_io_in_real_mode,
        values::mmio_of_each_width,
        values::two_vms_two_vcpus_each,
        values::many_requests_in_a_row,
        polling::polling_is_never_notified,
        at_once::taken_at_once,
        budget::storm,
        budget::storm_after_silence,
        budget::two_storms,
        budget::alone,
        budget::alone_beside_storm,
        budget::alone_beside_thread,
        budget::thread_misses_no_wake_up,
        budget::thread_has_a_name,
        pci_config::config_of_guest,
        pci_config::config_address_latches,
        pci_config::config_access_folds,
        pci_config::config_disabled_is_all_ones,
        pci_config::config_narrow_address_passes,
        pci_config::config_of_two_vms_apart,
        pci_config::config_address_has_low_bits,
        pci_config::config_neighbours_pass,
        pci_config::config_requests_pass,
        pci_config::config_requests_abandoned,
        clients::request_before_client,
        clients::destroy_client_frees_vcpu,
        clients::clear_completes_requests,
        clients::next_client_serves,
        clients::attach_returns_while_unserved,
        clients::each_request_wakes_a_thread,
        clients::cleared_request_is_gone,
        clients::ioeventfd_takes_waiting_request,
        clients::destroy_client_frees_each_vcpu,
        abandoned::destroy_client_reads_all_ones,
        abandoned::clear_reads_all_ones,
        abandoned::clear_without_client,
        reset::reset_drops_request,
        reset::reset_clears_config_address,
        reset::reset_refused,
        reset::reset_refused_keeps_config_address,
        reset::reset_of_several_vcpus,
        in_flight::reset_holds_requests,
        in_flight::destroy_holds_requests,
        in_flight::reset_is_alone,
        slots::notify_twice,
        slots::notify_free_slot,
        slots::notify_unknown_vcpu,
        slots::notify_without_client,
        slots::completion_polling,
        slots::completed_by_device_model,
        slots::last_slot,
        slots::spurious_upcall,
        slots::repeated_upcall,
        slots::silent_request_found_later,
        slots::hostile_page,
        slots::kernel_handled_is_cleared,
        slots::scribbled_slot_is_refused,
        slots::notify_names_the_vm,
        slots::completed_then_abandoned,
        neighbours::other_vms_come_and_go,
        neighbours::scribbled_page,
    ])
}
