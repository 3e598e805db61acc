// SPDX-License-Identifier: GPL-2.0

//! Measures the paths through the driver. `make bench` compares our driver with upstream's by these
//! figures, in a machine that counts instructions. The figures mean nothing with another clock.
//!
//! A test measures one path and has the path's name in that table. It fails if the path does not
//! work, not if it is slow.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod calls;
mod clock;
mod close;
mod figure;
mod guest;
mod hypervisor;
mod ioeventfds;
mod irqfd;
mod isolation;
mod kernel_memory;
mod memory;
mod metronome;
mod one_cpu;
mod requests;
mod scale;
mod storm;
mod vms;

fn main() -> ExitCode {
    harness::main(&tests![
        calls::plain.named("P1").show_output(),
        requests::round_trip.named("P2").show_output(),
        ioeventfds::write.named("P3").show_output(),
        irqfd::write.named("P4").show_output(),
        memory::set_and_destroy.named("P5").show_output(),
        memory::held.named("P6").show_output(),
        isolation::beside_lives.named("P7").show_output(),
        scale::beside_idle_vms.named("P8").show_output(),
        vms::create_and_destroy.named("P9").show_output(),
        storm::thread_beside.named("P11").show_output(),
        storm::vm_beside.named("P12").show_output(),
        // Upstream's driver leaves a VM behind in this test.
        close::killed.named("P10").show_output(),
        close::victim.helper(),
    ])
}
