// SPDX-License-Identifier: GPL-2.0

//! Log lines that user space can cause, and so must not be able to flood the log with.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use super::bindings as own;

/// Whether another line may be logged: the module has the kernel's default rate for all of them.
pub(crate) fn allowed() -> bool {
    // SAFETY: No precondition.
    unsafe { own::hsm_log_allowed() }
}

/// `pr_err!`, unless there were too many of late.
macro_rules! pr_err_ratelimited {
    ($($argument:tt)*) => {
        if $crate::abstractions::ratelimit::allowed() {
            ::kernel::pr_err!($($argument)*);
        }
    };
}
pub(crate) use pr_err_ratelimited;
