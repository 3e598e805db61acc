// SPDX-License-Identifier: GPL-2.0

//! Tests that mini-ACRN refuses the same hypercalls as ACRN, and tolerates as little as ACRN does.
//!
//! The tests make the hypercalls themselves. They include cases that no driver causes.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod absent_devices;
mod account;
mod apic;
mod held_hypercalls;
mod modes;
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
    harness::main(&tests![
        unknown_ids::unknown_hypercalls,
        unknown_ids::low_byte_counts,
        unknown_ids::unknown_vms,
        unknown_ids::vm_that_is_off,
        parameters::callback_vector,
        parameters::notify_unknown_vcpu,
        parameters::no_regions,
        regions::regions_refused,
        regions::regions_no_roll_back,
        regions::regions_hole,
        regions::regions_over,
        regions::regions_unaligned,
        regions::regions_wrapping,
        regions::regions_bad_rights,
        regions::regions_of_nobody,
        parameters::request_pages,
        states::no_request_page,
        states::created,
        states::running,
        states::paused,
        modes::long_mode_enabled_without_pae,
        paused::paused_notify_wakes,
        paused::paused_notify_destroy,
        paused::paused_notify_of_none,
        paused::paused_reset_waiting,
        paused::paused_raised_request,
        paused::paused_msi_wakes,
        paused::paused_line_wakes,
        paused::paused_interrupt_spinning,
        translations::delete_kicks,
        translations::delete_does_not_flush,
        translations::pause_flushes,
        translations::device_keeps_translations,
        translations::device_of_ended_vm,
        absent_devices::line_of_no_device,
        absent_devices::memory_of_no_device,
        slots::vm_names,
        slots::vm_without_name,
        slots::vm_slots,
        slots::vm_without_cpus,
        slots::vm_on_unknown_cpu,
        slots::destroyed_with_an_error,
        held_hypercalls::held_hypercall,
        account::account_of_hypercalls,
        ports::config_ports,
        ports::in_keeps_the_rest_of_rax,
        ports::string_instructions_are_single,
        apic::id_of_vcpu,
        apic::ipi_by_id,
        apic::msi_to_another_id,
        apic::lines,
        shutdown::triple_fault_powers_off,
        shutdown::mov_with_offset,
        shutdown::mmio_without_paging,
    ])
}
