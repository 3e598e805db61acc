// SPDX-License-Identifier: GPL-2.0

//! Tests of the time between PAUSE_VM and RESET_VM or DESTROY_VM. In that time, the driver must not
//! make hypercalls that wake a vCPU: ACRN would resume the paused guest, and crash at the next of
//! these commands. User space does not need to know about this.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod in_flight;
mod interrupts;
mod port_guest;
mod requests;
mod reset;

fn main() -> ExitCode {
    harness::main(&tests![
        requests::notify,
        requests::clear,
        requests::destroy_client,
        requests::upcall,
        requests::comes_late,
        requests::failed_commands,
        interrupts::inject_msi,
        interrupts::set_irqline,
        interrupts::irqfd,
        interrupts::halted_guest,
        reset::failed_late,
        reset::cleared_while_starting,
        in_flight::notify_under_way,
        in_flight::notify_on_its_way,
        in_flight::clear_under_way,
        in_flight::destroy_client_under_way,
        in_flight::upcall_under_way,
        in_flight::irqfd_under_way,
        in_flight::interrupts_under_way,
        // The tests from here on may break upstream's driver, and with it the tests after them.
        requests::close,
        requests::close_refused,
    ])
}
