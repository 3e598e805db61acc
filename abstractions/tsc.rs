// SPDX-License-Identifier: GPL-2.0

//! The time-stamp counter, which a single instruction reads in any context.
//!
//! [`kernel::time::Instant`] reads a clock source, which costs more than a budget check may.
//!
//! C header: [`arch/x86/include/asm/tsc.h`](srctree/arch/x86/include/asm/tsc.h)

use super::bindings as own;
use core::arch::x86_64::_rdtsc;

/// Returns the number of cycles in a millisecond, as the kernel calibrated it; at least 1.
pub(crate) fn cycles_per_ms() -> u64 {
    // SAFETY: An aligned number. The kernel may refine it at any time, so it is read once.
    unsafe { (&raw const own::tsc_khz).read_volatile() }
        .max(1)
        .into()
}

/// A time-stamp. Those of different CPUs may not be comparable.
///
/// # Examples
///
/// ```
/// use crate::abstractions::tsc::{cycles_per_ms, Tsc};
///
/// let start = Tsc::now();
/// let cycles = Tsc::now().since(start);
/// pr_info!("It took {} ms\n", cycles / cycles_per_ms());
/// ```
#[derive(Clone, Copy, Default)]
pub(crate) struct Tsc(u64);

impl Tsc {
    /// Reads the counter of this CPU. Any context.
    pub(crate) fn now() -> Self {
        // SAFETY: Linux does not run on ACRN without this instruction.
        Self(unsafe { _rdtsc() })
    }

    /// Returns the time-stamp with the given number of cycles since reset.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn from_cycles(cycles: u64) -> Self {
        Self(cycles)
    }

    /// Returns the cycles from `earlier` to this, or 0 if the counter went back.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
