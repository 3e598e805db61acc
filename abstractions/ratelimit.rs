// SPDX-License-Identifier: GPL-2.0

//! Rate-limited log lines, for those that user space can cause.
//!
//! [`kernel::print`] has no rate limit.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use super::bindings as own;

/// Returns whether another line may be logged. All lines of the module share the kernel's default
/// rate limit.
pub(crate) fn is_allowed() -> bool {
    // SAFETY: No precondition.
    unsafe { own::hsm_ratelimit() }
}

/// Logs an error as `pr_err!` does, unless too many lines were logged recently.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::ratelimit::pr_err_ratelimited;
///
/// let vmid = 1;
/// pr_err_ratelimited!("VM {}: cannot be destroyed\n", vmid);
/// ```
macro_rules! pr_err_ratelimited {
    ($($argument:tt)*) => {
        if $crate::abstractions::ratelimit::is_allowed() {
            ::kernel::pr_err!($($argument)*);
        }
    };
}
pub(crate) use pr_err_ratelimited;
