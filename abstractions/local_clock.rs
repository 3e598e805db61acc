// SPDX-License-Identifier: GPL-2.0

//! The scheduler's clock: cheap to read in any context, and good for differences on one CPU.
//!
//! C header: [`include/linux/sched/clock.h`](srctree/include/linux/sched/clock.h)

use super::bindings as own;

/// A moment. Those of different CPUs may be off by a jiffy.
#[derive(Clone, Copy, Default)]
pub(crate) struct Instant(u64);

impl Instant {
    /// Now, by this CPU's clock. Any context.
    pub(crate) fn now() -> Self {
        // SAFETY: No precondition.
        Self(unsafe { own::local_clock() })
    }

    /// Nanoseconds from `earlier` to this; 0 if the clock went back.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
