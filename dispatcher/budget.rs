// SPDX-License-Identifier: GPL-2.0

//! How much of a CPU's time the upcall may take.

use crate::abstractions::tsc::{
    self,
    Moment, //
};

/// Part of the time that the upcall has for all VMs together: one in so many. It comes in hard-IRQ
/// context, before all else that the CPU has to do. A guest that asks for more does so in a loop, and
/// loses little by the detour over a thread.
const ONE_IN: i64 = 20;

/// Milliseconds that a VM can save up, so that a burst of requests is served at once.
const SAVED: u64 = 10;

/// What the upcall may still spend on one VM.
///
/// A pass over its slots costs [`ONE_IN`] times the cycles that it took, and that for each of the VMs that share. So in any 10 ms all passes together take at most a tenth: a twentieth that was saved up, and one
/// that was earned meanwhile. Beyond that comes the pass that was the last to be allowed.
#[derive(Default)]
pub(super) struct Budget {
    /// Cycles of waiting that are not spent; negative if they are owed.
    credit: i64,
    counted_at: Moment,
}

impl Budget {
    /// Whether the upcall may make a pass for the VM now.
    pub(super) fn allows(&mut self, now: Moment) -> bool {
        let saved = tsc::per_millisecond().saturating_mul(SAVED);
        let earned = now.since(self.counted_at);
        self.counted_at = now;
        let credit = self.credit.saturating_add_unsigned(earned);
        self.credit = credit.min(i64::try_from(saved).unwrap_or(i64::MAX));
        self.credit > 0
    }

    /// Pays for a pass that took so many cycles, where `vms` VMs share the time.
    pub(super) fn pay(&mut self, cycles: u64, vms: usize) {
        let price = i64::try_from(cycles)
            .unwrap_or(i64::MAX)
            .saturating_mul(ONE_IN)
            .saturating_mul(i64::try_from(vms).unwrap_or(i64::MAX));
        self.credit = self.credit.saturating_sub(price);
    }
}
