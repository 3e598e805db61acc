// SPDX-License-Identifier: GPL-2.0

//! Tests of the life cycle of a User VM: the commands that each state allows, and the release of
//! resources at its end.
//!
//! The harness checks after each test that nothing is left behind, in any state in which the test
//! ends.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

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
    harness::main(&tests![
        order::before_create,
        order::after_destroy,
        order::start_twice,
        order::registers_while_running,
        order::pause_twice,
        order::reset_needs_pause,
        order::reset_and_start_again,
        order::unknown_command,
        hypercall_args::creation_arrives,
        hypercall_args::request_page_arrives,
        hypercall_args::commands_name_the_vm,
        hypercall_args::registers_arrive,
        errors::errors_passed_on,
        errors::notify_errors_passed_on,
        errors::results_of_any_size,
        process_exit::file_holds_module,
        process_exit::close_empty,
        create::create_returns_vmid_and_vcpus,
        create::create_with_name_of_another,
        create::create_with_name_of_another_and_more,
        create::create_with_generated_name,
        create::create_refused,
        create::create_refused_without_error,
        create::create_without_request_page,
        create::create_request_page_refused,
        clients::create_client_twice,
        clients::attach_without_client,
        clients::destroy_client_twice,
        clients::signal_ends_attach,
        clients::signal_then_request,
        destroy::destroy_needs_pause,
        destroy::destroy_refused,
        destroy::destroy_releases_memory,
        concurrent_destroy::requests_during_destroy,
        concurrent_destroy::interrupts_during_destroy,
        concurrent_destroy::commands_during_destroy,
        concurrent_destroy::memory_goes_during_start,
        concurrent_destroy::interrupts_after_refused_reset,
        module::module_stays,
        heap::heap_does_not_grow.within(300),
        // The tests from here on may damage upstream's driver, and affect the tests after them.
        create::create_read_only_argument,
        create::create_with_17_vcpus,
        clients::destroy_client_ends_attach,
        clients::destroy_vm_ends_attach,
        destroy::destroy_then_create,
        create::create_twice,
        create::create_twice_reads_nothing,
        create::create_from_two_threads,
        destroy::destroy_refused_at_close,
        killable::killed_behind_memory,
        killable::killed_behind_reset,
        killable::waiting_victim.helper(),
        reused_id::gone_of_open_file,
        reused_id::gone_of_orphan,
        reused_id::gone_and_creation_fails,
        reused_id::gone_while_command_waits,
        reused_id::gone_gets_no_commands,
        reused_id::gone_gets_no_client,
        reused_id::gone_gets_no_memory,
        reused_id::gone_gets_no_eventfds,
        orphans::orphan_that_runs,
        orphans::orphan_that_is_paused,
        orphans::orphans_two,
        orphans::orphan_tried_beside_io,
        orphans::orphan_loses_memory,
        orphans::orphan_loses_memory_while_tried,
        module::unload_with_orphan,
        module::unload_beside_upcall,
        orphans::unload_with_running_orphan,
        process_exit::close_paused,
        process_exit::close_pause_refused,
        concurrent_destroy::close_under_way,
        process_exit::close_created,
        process_exit::close_running,
        process_exit::close_spinning,
        process_exit::close_with_request,
        process_exit::close_by_last_descriptor,
        process_exit::exit_with_attached_thread,
        process_exit::killed_while_running,
        process_exit::victim.helper(),
        process_exit::killed_while_destroying,
        process_exit::destroying_victim.helper(),
        // The test-bed reboots after the first of these helpers, and while the others run.
        shutdown::orphan_outlives_module.helper(),
        shutdown::late_starter.helper(),
        shutdown::late_creators.helper(),
        clients::clients_come_and_go,
        races::everything_at_once,
    ])
}
