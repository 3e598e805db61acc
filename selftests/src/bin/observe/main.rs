// SPDX-License-Identifier: GPL-2.0

//! What an administrator sees of VMs: fdinfo, debugfs, the kernel's log, tracepoints.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod debugfs;
mod fdinfo;
mod log;
mod tracepoints;
mod waiting;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("fdinfo_empty_file", fdinfo::empty_file),
        Test::new("fdinfo_numbers", fdinfo::numbers),
        Test::new("fdinfo_states_and_requests", fdinfo::states_and_requests),
        Test::new("fdinfo_refused_start", fdinfo::refused_start),
        Test::new("fdinfo_refused_commands", fdinfo::refused_commands),
        Test::new("file_modes", debugfs::file_modes),
        Test::new("look_while_held", waiting::while_held),
        Test::new("look_while_created", waiting::while_created),
        Test::new("look_while_memory_waits", waiting::while_memory_waits),
        Test::new(
            "create_beside_one_that_waits",
            waiting::create_beside_one_that_waits,
        ),
        Test::new("debugfs_comes_and_goes", debugfs::comes_and_goes),
        Test::new("debugfs_none_of_failed_vm", debugfs::none_of_failed_vm),
        Test::new(
            "debugfs_stays_after_refused_destroy",
            debugfs::stays_after_refused_destroy,
        ),
        Test::new("debugfs_open_while_vm_goes", debugfs::open_while_vm_goes),
        Test::new("debugfs_neighbours", debugfs::neighbours),
        Test::new(
            "trace_of_requests_and_interrupts",
            tracepoints::requests_and_interrupts,
        ),
        Test::new("trace_of_other_vcpus", tracepoints::of_other_vcpus),
        Test::new(
            "trace_of_dropped_interrupts",
            tracepoints::of_dropped_interrupts,
        ),
        Test::new("log_of_failed_commands", log::failed_commands),
        Test::new("log_of_failed_creation", log::failed_creation),
        Test::new(
            "log_of_requests_without_client",
            log::requests_without_client,
        ),
        // Upstream's driver leaves a VM in its list here.
        Test::new("log_of_refused_ends", log::refused_ends),
    ])
}
