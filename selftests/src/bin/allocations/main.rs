// SPDX-License-Identifier: GPL-2.0

//! Lets the kernel run out of memory in the middle of a command: at each of its allocations, or
//! from each one on.
//!
//! The command fails, or succeeds without the memory. A failed command leaves nothing behind, the
//! result of a successful one works, and the same command succeeds afterwards.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod commands;
mod create;
mod memory;
mod structures;

fn main() -> ExitCode {
    harness::main(&tests![
        memory::set.named("set_memory"),
        memory::set_scattered_memory.within(900),
        memory::set_much_scattered_memory.within(1800),
        memory::set_memory_over_other,
        memory::set_watched_memory,
        memory::set_device_memory,
        memory::split_memory.within(900),
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
        // The tests from here on may break upstream's driver, and the tests after them.
        create::close,
        create::create_vm,
        create::first_vm.within(900),
    ])
}
