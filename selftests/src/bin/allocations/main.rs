// SPDX-License-Identifier: GPL-2.0

//! The kernel runs out of memory in the middle of a command, at each allocation that there is, or from there on.
//! The command fails, or does without; nothing is left of one that failed, what succeeded works, and so does the
//! same command afterwards.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod commands;
mod create;
mod memory;
mod structures;

fn main() -> ExitCode {
    harness::main(&tests![
        memory::set.named("set_memory"),
        memory::set_scattered_memory,
        memory::set_much_scattered_memory.within(120),
        memory::set_memory_over_other,
        memory::set_watched_memory,
        memory::set_device_memory,
        memory::split_memory,
        memory::split_watched_memory,
        memory::unset_memory,
        memory::set_while_guest_runs,
        memory::set_and_roll_back_fails,
        structures::forwarded_structures,
        commands::create_client,
        commands::ioeventfd,
        commands::many_ioeventfds,
        commands::irqfd,
        commands::life_of_a_vm,
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        create::close,
        create::create_vm,
        create::first_vm,
    ])
}
