// SPDX-License-Identifier: GPL-2.0

//! Makes the requests of acrn-dm, in its order and from its threads, with running guests: each way
//! in which a guest ends, followed by a new start, repeatedly.
//!
//! acrn-dm completes requests during and after PAUSE_VM, and its threads send interrupts at any
//! time. The hypervisor would resume a paused vCPU for that, so the driver must not make such
//! hypercalls until RESET_VM or DESTROY_VM.

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
        // The tests from here on may break upstream's driver, and the tests after them.
        signals::killed.within(180),
        signals::killed_in_refused_destroy.within(180),
        signals::victim.helper(),
        signals::refused_victim.helper(),
        signals::paused_victim.helper(),
        // The test-bed reboots while it runs.
        signals::stubborn_victim.helper(),
    ])
}
