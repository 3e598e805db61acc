// SPDX-License-Identifier: GPL-2.0

//! Voluntary rescheduling in long loops, which end early if the task is killed.
//!
//! [`kernel::task`] has `might_sleep()`, but neither `cond_resched()` nor fatal signals.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use super::bindings as own;
use kernel::prelude::*;

/// Lets another task run if it is due. May sleep.
pub(crate) fn cond_resched() {
    kernel::task::might_sleep();
    // SAFETY: The task may sleep, which is the only precondition.
    unsafe { own::hsm_cond_resched() }
}

/// Lets another task run if it is due. May sleep.
///
/// Fails with `EINTR` if the current task was killed.
///
/// # Examples
///
/// ```
/// use crate::abstractions::sched::cond_resched_killable;
///
/// let mut sum = 0_u64;
/// for number in 1..=10 {
///     cond_resched_killable()?;
///     sum += number;
/// }
/// assert_eq!(sum, 55);
/// ```
pub(crate) fn cond_resched_killable() -> Result {
    cond_resched();
    // SAFETY: No precondition.
    if unsafe { own::hsm_fatal_signal_pending() } {
        return Err(EINTR);
    }
    Ok(())
}
