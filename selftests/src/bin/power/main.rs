// SPDX-License-Identifier: GPL-2.0

//! Tests of the power states of a User VM's CPUs, and of CPUs that the Service VM hands over to the
//! hypervisor.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod remove_cpu;
mod states;

fn main() -> ExitCode {
    harness::main(&tests![
        states::counts,
        states::idle_states,
        states::frequency_states,
        states::by_acrn_ioctls,
        states::errors_passed_on,
        states::answer_is_cleared,
        states::no_room_for_answer,
        states::state_matters,
        states::unknown_commands,
        states::other_vm,
        remove_cpu::remove_cpu_is_there,
        remove_cpu::remove_cpu_cannot_be_read,
        remove_cpu::remove_cpu_bad_writes,
        remove_cpu::remove_cpu_long_write,
        remove_cpu::remove_cpu_refused,
        remove_cpu::remove_cpu_under_way,
        remove_cpu::remove_cpu_after_offline,
        remove_cpu::remove_cpu_from_online,
        remove_cpu::not_started.named("remove_cpu_not_started"),
        remove_cpu::remove_cpu_offline_fails,
    ])
}
