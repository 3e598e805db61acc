// SPDX-License-Identifier: GPL-2.0

//! 32-bit programs. Upstream's driver has nothing for them: all requests are ENOTTY there.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod arguments;
mod compat_device;
mod machine;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("without_a_vm", machine::without_a_vm),
        Test::new("life_of_a_vm", machine::life_of_a_vm),
        Test::new("end_of_registers", machine::end_of_registers),
        Test::new("structures_arrive", arguments::structures_arrive),
        Test::new("interrupt_line", arguments::interrupt_line),
        Test::new("interrupt_monitor", arguments::interrupt_monitor),
        Test::new("power_states", arguments::power_states),
        Test::new("eventfds", arguments::eventfds),
        Test::new("bad_pointers", arguments::bad_pointers),
        Test::new("unknown_requests", arguments::unknown_requests),
    ])
}
