// SPDX-License-Identifier: GPL-2.0

//! Tests of information about VMs for administrators: fdinfo, debugfs, the kernel log and
//! tracepoints.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod debugfs;
mod fdinfo;
mod log;
mod tracepoints;
mod waiting;

fn main() -> ExitCode {
    harness::main(&tests![
        fdinfo::fdinfo_empty_file,
        fdinfo::fdinfo_numbers,
        fdinfo::fdinfo_states_and_requests,
        fdinfo::fdinfo_refused_start,
        fdinfo::fdinfo_refused_commands,
        debugfs::file_modes,
        waiting::look_while_held,
        waiting::look_while_created,
        waiting::look_while_memory_waits,
        waiting::create_beside_one_that_waits,
        debugfs::debugfs_comes_and_goes,
        debugfs::debugfs_none_of_failed_vm,
        debugfs::debugfs_stays_after_refused_destroy,
        debugfs::debugfs_open_while_vm_goes,
        debugfs::debugfs_neighbours,
        tracepoints::trace_of_requests_and_interrupts,
        tracepoints::trace_of_other_vcpus,
        tracepoints::trace_of_dropped_interrupts,
        log::log_of_failed_commands,
        log::log_of_failed_creation,
        log::log_of_requests_without_client,
        log::thread_looks_after_upcall,
        // In this test, upstream's driver leaves a VM in its list.
        log::log_of_refused_ends,
    ])
}
