// SPDX-License-Identifier: GPL-2.0

//! What mini-ACRN refuses and forgives as little as ACRN does, though no driver asks for it: each hypercall is made by
//! the test.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod absent_devices;
mod account;
mod apic;
mod held_hypercalls;
mod parameters;
mod paused;
mod ports;
mod regions;
mod shutdown;
mod slots;
mod states;
mod translations;
mod unknown_ids;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("unknown_hypercalls", unknown_ids::unknown_hypercalls),
        Test::new("low_byte_counts", unknown_ids::low_byte_counts),
        Test::new("unknown_vms", unknown_ids::unknown_vms),
        Test::new("vm_that_is_off", unknown_ids::vm_that_is_off),
        Test::new("callback_vector", parameters::callback_vector),
        Test::new("notify_unknown_vcpu", parameters::notify_unknown_vcpu),
        Test::new("no_regions", parameters::no_regions),
        Test::new("regions_refused", regions::refused),
        Test::new("regions_no_roll_back", regions::no_roll_back),
        Test::new("regions_hole", regions::hole),
        Test::new("regions_over", regions::over_what_is_there),
        Test::new("regions_unaligned", regions::unaligned),
        Test::new("regions_wrapping", regions::wrapping),
        Test::new("regions_of_nobody", regions::array_of_nobody),
        Test::new("request_pages", parameters::request_pages),
        Test::new("no_request_page", states::no_request_page),
        Test::new("created", states::created),
        Test::new("running", states::running),
        Test::new("paused", states::paused),
        Test::new("paused_notify_wakes", paused::notify_wakes),
        Test::new("paused_notify_destroy", paused::notify_and_destroy),
        Test::new("paused_notify_of_none", paused::notify_of_none),
        Test::new("paused_reset_waiting", paused::reset_without_notify),
        Test::new("paused_raised_request", paused::raised_request),
        Test::new("paused_msi_wakes", paused::msi_wakes),
        Test::new("paused_line_wakes", paused::line_wakes),
        Test::new(
            "paused_interrupt_spinning",
            paused::interrupt_of_one_that_spins,
        ),
        Test::new("delete_kicks", translations::delete_kicks),
        Test::new("delete_does_not_flush", translations::delete_does_not_flush),
        Test::new("pause_flushes", translations::pause_flushes),
        Test::new("device_keeps_translations", translations::device_keeps_them),
        Test::new("device_of_ended_vm", translations::device_of_a_vm_that_ends),
        Test::new("line_of_no_device", absent_devices::line_of_no_device),
        Test::new("memory_of_no_device", absent_devices::memory_of_no_device),
        Test::new("vm_names", slots::names),
        Test::new("vm_without_name", slots::no_name),
        Test::new("vm_slots", slots::no_slot),
        Test::new("vm_without_cpus", slots::no_affinity),
        Test::new("vm_on_unknown_cpu", slots::unknown_cpu),
        Test::new("destroyed_with_an_error", slots::destroyed_with_an_error),
        Test::new("held_hypercall", held_hypercalls::hypercall),
        Test::new("account_of_hypercalls", account::of_hypercalls),
        Test::new("config_ports", ports::config_ports),
        Test::new("in_keeps_the_rest_of_rax", ports::in_keeps_the_rest_of_rax),
        Test::new(
            "string_instructions_are_single",
            ports::string_instructions_are_single,
        ),
        Test::new("id_of_vcpu", apic::id_of_vcpu),
        Test::new("ipi_by_id", apic::ipi_by_id),
        Test::new("msi_to_another_id", apic::msi_to_another_id),
        Test::new("lines", apic::lines),
        Test::new("triple_fault_powers_off", shutdown::triple_fault_powers_off),
        Test::new("mov_with_offset", shutdown::mov_with_offset),
        Test::new("mmio_without_paging", shutdown::mmio_without_paging),
    ])
}
