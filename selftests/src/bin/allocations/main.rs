// SPDX-License-Identifier: GPL-2.0

//! The kernel runs out of memory in the middle of a command, at each allocation that there is, or from there on.
//! The command fails, or does without; nothing is left of one that failed, what succeeded works, and so does the
//! same command afterwards.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod commands;
mod create;
mod memory;
mod structures;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("set_memory", memory::set),
        Test::new("set_scattered_memory", memory::set_scattered),
        Test::new("set_much_scattered_memory", memory::set_much_scattered).within(120),
        Test::new("set_memory_over_other", memory::set_over),
        Test::new("set_watched_memory", memory::set_watched),
        Test::new("set_device_memory", memory::set_device),
        Test::new("split_memory", memory::split),
        Test::new("split_watched_memory", memory::split_watched),
        Test::new("unset_memory", memory::unset),
        Test::new("set_while_guest_runs", memory::set_while_running),
        Test::new("set_and_roll_back_fails", memory::roll_back_fails),
        Test::new("forwarded_structures", structures::all),
        Test::new("create_client", commands::create_client),
        Test::new("ioeventfd", commands::ioeventfd),
        Test::new("many_ioeventfds", commands::many_ioeventfds),
        Test::new("irqfd", commands::irqfd),
        Test::new("life_of_a_vm", commands::life),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("close", create::close),
        Test::new("create_vm", create::create_vm),
        Test::new("first_vm", create::first_vm),
    ])
}
