// SPDX-License-Identifier: GPL-2.0

//! Lifecycle of a User VM: what is allowed when, and what is left when it ends.
//!
//! That nothing is left is checked after each test by the harness, in whatever state a test ends.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod clients;
mod concurrent_destroy;
mod create;
mod destroy;
mod errors;
mod heap;
mod hypercall_args;
mod killable;
mod module;
mod order;
mod orphans;
mod process_exit;
mod races;
mod reused_id;
mod shutdown;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("before_create", order::before_create),
        Test::new("after_destroy", order::after_destroy),
        Test::new("start_twice", order::start_twice),
        Test::new("registers_while_running", order::registers_while_running),
        Test::new("pause_twice", order::pause_twice),
        Test::new("reset_needs_pause", order::reset_needs_pause),
        Test::new("reset_and_start_again", order::reset_and_start_again),
        Test::new("unknown_command", order::unknown_command),
        Test::new("creation_arrives", hypercall_args::creation_arrives),
        Test::new("request_page_arrives", hypercall_args::request_page_arrives),
        Test::new("commands_name_the_vm", hypercall_args::commands_name_the_vm),
        Test::new("registers_arrive", hypercall_args::registers_arrive),
        Test::new("errors_passed_on", errors::of_commands),
        Test::new("notify_errors_passed_on", errors::of_notify),
        Test::new("results_of_any_size", errors::results_of_any_size),
        Test::new("file_holds_module", process_exit::file_holds_module),
        Test::new("close_empty", process_exit::close_empty),
        Test::new("create_tells_vmid_and_vcpus", create::tells_vmid_and_vcpus),
        Test::new("create_refused", create::refused),
        Test::new(
            "create_refused_without_error",
            create::refused_without_error,
        ),
        Test::new("create_without_request_page", create::without_request_page),
        Test::new("create_request_page_refused", create::request_page_refused),
        Test::new("create_client_twice", clients::create_twice),
        Test::new("attach_without_client", clients::attach_without_client),
        Test::new("destroy_client_twice", clients::destroy_twice),
        Test::new("signal_ends_attach", clients::signal_ends_attach),
        Test::new("signal_then_request", clients::signal_then_request),
        Test::new("destroy_needs_pause", destroy::needs_pause),
        Test::new("destroy_refused", destroy::refused),
        Test::new("destroy_gives_memory_back", destroy::gives_memory_back),
        Test::new("requests_during_destroy", concurrent_destroy::requests),
        Test::new("interrupts_during_destroy", concurrent_destroy::interrupts),
        Test::new("commands_during_destroy", concurrent_destroy::commands),
        Test::new(
            "memory_goes_during_start",
            concurrent_destroy::memory_during_start,
        ),
        Test::new(
            "interrupts_after_refused_reset",
            concurrent_destroy::interrupts_after_refused_reset,
        ),
        Test::new("module_stays", module::stays_while_guest_lives),
        Test::new("heap_does_not_grow", heap::does_not_grow).within(300),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("create_read_only_argument", create::read_only_argument),
        Test::new("create_with_17_vcpus", create::with_17_vcpus),
        Test::new("destroy_client_ends_attach", clients::destroy_ends_attach),
        Test::new("destroy_vm_ends_attach", clients::destroy_vm_ends_attach),
        Test::new("destroy_then_create", destroy::then_create),
        Test::new("create_twice", create::twice),
        Test::new("create_twice_reads_nothing", create::twice_reads_nothing),
        Test::new("create_from_two_threads", create::from_two_threads),
        Test::new("destroy_refused_at_close", destroy::refused_at_close),
        Test::new("killed_behind_memory", killable::behind_memory),
        Test::new("killed_behind_reset", killable::behind_reset),
        Test::helper("waiting_victim", killable::victim),
        Test::new("gone_of_open_file", reused_id::of_open_file),
        Test::new("gone_of_orphan", reused_id::of_orphan),
        Test::new("gone_and_creation_fails", reused_id::creation_fails),
        Test::new("gone_while_command_waits", reused_id::while_command_waits),
        Test::new("orphan_that_runs", orphans::that_runs),
        Test::new("orphan_that_is_paused", orphans::that_is_paused),
        Test::new("orphans_two", orphans::two),
        Test::new("orphan_tried_beside_io", orphans::tried_beside_io),
        Test::new("orphan_loses_memory", orphans::loses_memory),
        Test::new(
            "orphan_loses_memory_while_tried",
            orphans::loses_memory_while_tried,
        ),
        Test::new("unload_with_orphan", module::unload_with_orphan),
        Test::new("unload_beside_upcall", module::unload_beside_upcall),
        Test::new("unload_with_running_orphan", orphans::that_runs_at_unload),
        Test::new("close_paused", process_exit::close_paused),
        Test::new("close_pause_refused", process_exit::close_pause_refused),
        Test::new("close_under_way", concurrent_destroy::close),
        Test::new("close_created", process_exit::close_created),
        Test::new("close_running", process_exit::close_running),
        Test::new("close_spinning", process_exit::close_spinning),
        Test::new("close_with_request", process_exit::close_with_request),
        Test::new(
            "close_by_last_descriptor",
            process_exit::close_by_last_descriptor,
        ),
        Test::new(
            "exit_with_attached_thread",
            process_exit::exit_with_attached_thread,
        ),
        Test::new("killed_while_running", process_exit::killed_while_running),
        Test::helper("victim", process_exit::victim),
        Test::new(
            "killed_while_destroying",
            process_exit::killed_while_destroying,
        ),
        Test::helper("destroying_victim", process_exit::destroying_victim),
        // The test-bed reboots behind and under them.
        Test::helper("orphan_outlives_module", shutdown::orphan_outlives_module),
        Test::helper("late_creators", shutdown::late_creators),
        Test::new("clients_come_and_go", clients::come_and_go),
        Test::new("everything_at_once", races::everything_at_once),
    ])
}
