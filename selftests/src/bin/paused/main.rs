// SPDX-License-Identifier: GPL-2.0

//! Between PAUSE_VM and RESET_VM or DESTROY_VM the hypervisor must be told nothing that wakes a vCPU: it would let
//! a paused guest run on, and then fall over it. User space does not have to know.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod in_flight;
mod interrupts;
mod port_guest;
mod requests;

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
        in_flight::notify_under_way,
        in_flight::notify_on_its_way,
        in_flight::clear_under_way,
        in_flight::destroy_client_under_way,
        in_flight::upcall_under_way,
        in_flight::irqfd_under_way,
        in_flight::interrupts_under_way,
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        requests::close,
        requests::close_refused,
    ])
}
