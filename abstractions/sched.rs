// SPDX-License-Identifier: GPL-2.0

//! Long work in process context: a place for others to run, and an end for a task that is killed.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use super::bindings as own;
use kernel::prelude::*;

/// Lets other tasks run if it is their turn. May sleep.
pub(crate) fn cond_resched() {
    kernel::task::might_sleep();
    // SAFETY: No precondition but that the task may sleep.
    unsafe { own::hsm_cond_resched() }
}

/// The same, and fails with `EINTR` if the task was killed: what it works for is not wanted any more.
pub(crate) fn cond_resched_killable() -> Result {
    cond_resched();
    // SAFETY: No precondition.
    if unsafe { own::hsm_fatal_signal_pending() } {
        return Err(EINTR);
    }
    Ok(())
}
