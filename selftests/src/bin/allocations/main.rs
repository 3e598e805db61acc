// SPDX-License-Identifier: GPL-2.0

//! The kernel runs out of memory in the middle of a command, at each allocation that there is. The command
//! fails, or does without; nothing is left of one that failed, and what succeeded works.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod commands;
mod create;
mod failing;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("set_memory", commands::set_memory),
        Test::new("set_scattered_memory", commands::set_scattered_memory),
        Test::new("forwarded_structure", commands::forwarded_structure),
        Test::new("create_client", commands::create_client),
        Test::new("ioeventfd", commands::ioeventfd),
        Test::new("irqfd", commands::irqfd),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("create_vm", create::create_vm),
    ])
}
