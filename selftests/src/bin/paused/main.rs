// SPDX-License-Identifier: GPL-2.0

//! Between PAUSE_VM and RESET_VM or DESTROY_VM the hypervisor must be told nothing that wakes a vCPU: it would let
//! a paused guest run on, and then fall over it. User space does not have to know.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Test};

mod in_flight;
mod interrupts;
mod port_guest;
mod requests;

fn main() -> ExitCode {
    harness::main(&[
        Test::new("notify", requests::notify),
        Test::new("clear", requests::clear),
        Test::new("destroy_client", requests::destroy_client),
        Test::new("upcall", requests::upcall),
        Test::new("comes_late", requests::comes_late),
        Test::new("failed_commands", requests::failed_commands),
        Test::new("inject_msi", interrupts::inject_msi),
        Test::new("set_irqline", interrupts::set_irqline),
        Test::new("irqfd", interrupts::irqfd),
        Test::new("halted_guest", interrupts::halted_guest),
        Test::new("notify_under_way", in_flight::notify),
        Test::new("notify_on_its_way", in_flight::notify_on_its_way),
        Test::new("clear_under_way", in_flight::clear),
        Test::new("destroy_client_under_way", in_flight::destroy_client),
        Test::new("upcall_under_way", in_flight::upcall),
        Test::new("irqfd_under_way", in_flight::irqfd),
        Test::new("interrupts_under_way", in_flight::interrupts),
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        Test::new("close", requests::close),
        Test::new("close_refused", requests::close_refused),
    ])
}
