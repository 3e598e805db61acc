// SPDX-License-Identifier: GPL-2.0

//! Power states of the CPUs behind a User VM, and CPUs that the Service VM gives away.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod remove_cpu;
mod states;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("counts", states::counts),
        Test::new("idle_states", states::idle_states),
        Test::new("frequency_states", states::frequency_states),
        Test::new("by_acrn_ioctls", states::by_acrn_ioctls),
        Test::new("errors_passed_on", states::errors_passed_on),
        Test::new("answer_is_cleared", states::answer_is_cleared),
        Test::new("no_room_for_answer", states::no_room_for_answer),
        Test::new("state_matters", states::state_matters),
        Test::new("unknown_commands", states::unknown_commands),
        Test::new("other_vm", states::other_vm),
        Test::new("remove_cpu_is_there", remove_cpu::is_there),
        Test::new("remove_cpu_cannot_be_read", remove_cpu::cannot_be_read),
        Test::new("remove_cpu_bad_writes", remove_cpu::bad_writes),
        Test::new("remove_cpu_long_write", remove_cpu::long_write),
        Test::new("remove_cpu_refused", remove_cpu::refused),
        Test::new("remove_cpu_under_way", remove_cpu::under_way),
        Test::new("remove_cpu_after_offline", remove_cpu::after_offline),
        Test::new("remove_cpu_from_online", remove_cpu::from_online),
        Test::new("remove_cpu_not_started", remove_cpu::not_started),
        Test::new("remove_cpu_offline_fails", remove_cpu::offline_fails),
    ])
}
