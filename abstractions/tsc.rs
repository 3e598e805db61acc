// SPDX-License-Identifier: GPL-2.0

//! The time-stamp counter, which can be read in any context by one instruction.
//!
//! C header: [`arch/x86/include/asm/tsc.h`](srctree/arch/x86/include/asm/tsc.h)

use super::bindings as own;
use core::arch::x86_64::_rdtsc;

/// Cycles in a millisecond, as the kernel measured or was told; at least 1.
pub(crate) fn per_millisecond() -> u64 {
    // SAFETY: The kernel writes it during boot only.
    unsafe { own::tsc_khz }.max(1).into()
}

/// A moment. Those of different CPUs may differ.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Now, by this CPU's counter. Any context.
    pub(crate) fn now() -> Self {
        // SAFETY: Linux does not run on ACRN without this instruction.
        Self(unsafe { _rdtsc() })
    }

    /// Cycles from `earlier` to this; 0 if the counter went back.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
