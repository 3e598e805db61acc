// SPDX-License-Identifier: GPL-2.0

//! Requests of 32-bit programs. Upstream's driver does not support them: all requests fail with
//! ENOTTY there.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod arguments;
mod compat_device;
mod machine;

fn main() -> ExitCode {
    harness::main(&tests![
        machine::without_a_vm,
        machine::life_of_a_vm,
        machine::end_of_registers,
        arguments::structures_arrive,
        arguments::interrupt_line,
        arguments::interrupt_monitor,
        arguments::power_states,
        arguments::eventfds,
        arguments::bad_pointers,
        arguments::unknown_requests,
    ])
}
