// SPDX-License-Identifier: GPL-2.0

//! What acrn-dm does to the driver, in its order and from its threads, with guests that run: each way in which
//! a guest may end, and a start after each, again and again.
//!
//! acrn-dm finishes requests during and after PAUSE_VM, and its threads send interrupts at any time. The
//! hypervisor would let a paused vCPU run on for that: no such hypercall may be made until RESET_VM or
//! DESTROY_VM.

use std::process::ExitCode;

use acrn_selftests::{harness, tests};

mod endings;
mod guest;
mod model;
mod resets;
mod signals;
mod watch;

fn main() -> ExitCode {
    harness::main(&tests![
        endings::powers_off.named("power_off").within(180),
        endings::power_off_for_ever.within(180),
        endings::full_reset.within(180),
        resets::system_reset.within(180),
        resets::system_reset_shared_memory.within(180),
        resets::system_reset_rom.within(180),
        resets::system_reset_from_first_thread.within(180),
        resets::suspend.within(180),
        endings::vhost.within(180),
        endings::passed_through_device.within(180),
        signals::watchdog,
        // Upstream's driver has trouble with what follows: what comes after it may be its fault.
        signals::killed.within(180),
        signals::killed_in_refused_destroy.within(180),
        signals::victim.helper(),
        signals::refused_victim.helper(),
        signals::paused_victim.helper(),
        // The test-bed reboots under it.
        signals::stubborn_victim.helper(),
    ])
}
