// SPDX-License-Identifier: GPL-2.0

//! The share of a CPU's time that the upcall may take.

use crate::abstractions::tsc::{
    self,
    Tsc, //
};
use kernel::macros::kunit_tests;

/// The upcall may take one in this many cycles for all VMs together, because hard-IRQ context
/// precedes all other work of the CPU. A guest that needs more makes requests in a loop, and loses
/// little if a thread dispatches them.
const ONE_IN: i64 = 20;

/// The milliseconds of credit that a VM can save, so that a burst of requests is dispatched at
/// once.
const SAVED_MS: u64 = 10;

/// The budget that the upcall has for a VM.
///
/// A pass over the slots of a VM costs [`ONE_IN`] times the cycles that it took, times the number
/// of VMs that share the budget. So in any 10 ms all passes together take at most a tenth of the
/// time: a twentieth that was saved, and a twentieth that was earned meanwhile. The last pass that
/// is allowed may exceed this.
#[derive(Default)]
pub(super) struct Budget {
    /// Cycles that have elapsed and are not spent yet; negative if passes have overspent them.
    credit: i64,
    counted_at: Tsc,
}

impl Budget {
    /// Returns whether the upcall may make a pass for the VM now.
    pub(super) fn allows(&mut self, now: Tsc) -> bool {
        let saved = tsc::cycles_per_ms().saturating_mul(SAVED_MS);
        let earned = now.since(self.counted_at);
        self.counted_at = now;
        let credit = self.credit.saturating_add_unsigned(earned);
        self.credit = credit.min(i64::try_from(saved).unwrap_or(i64::MAX));
        self.credit > 0
    }

    /// Charges a pass that took `cycles`, where `vms` VMs share the budget.
    pub(super) fn charge(&mut self, cycles: u64, vms: usize) {
        let price = i64::try_from(cycles)
            .unwrap_or(i64::MAX)
            .saturating_mul(ONE_IN)
            .saturating_mul(i64::try_from(vms).unwrap_or(i64::MAX));
        self.credit = self.credit.saturating_sub(price);
    }
}

#[kunit_tests(acrn_hsm_budget)]
mod tests {
    use super::*;

    /// Returns the cycles that passes take in `duration` milliseconds from `start` on, if `vms` VMs
    /// request a pass of `cycles` whenever there is none in progress.
    fn storm(budgets: &mut [Budget], start: u64, duration: u64, cycles: u64) -> u64 {
        let vms = budgets.len();
        let end = start + duration * tsc::cycles_per_ms();
        let (mut now, mut spent) = (start, 0);
        while now < end {
            let before = now;
            for budget in budgets.iter_mut() {
                if budget.allows(Tsc::from_cycles(now)) {
                    budget.charge(cycles, vms);
                    now += cycles;
                    spent += cycles;
                }
            }
            if now == before {
                now += tsc::cycles_per_ms() / 1000 + 1;
            }
        }
        spent
    }

    fn cycles_of_a_pass() -> u64 {
        tsc::cycles_per_ms() / 500
    }

    #[test]
    fn a_storm_takes_a_tenth_of_10_ms() {
        let (start, cycles) = (1_000 * tsc::cycles_per_ms(), cycles_of_a_pass());
        for vms in [1, 2, 8] {
            let mut budgets: [Budget; 8] = Default::default();
            if let Some(budgets) = budgets.get_mut(..vms) {
                let spent = storm(budgets, start, 10, cycles);
                let last = vms as u64 * cycles;
                assert!(spent <= tsc::cycles_per_ms() + last);
                assert!(spent >= tsc::cycles_per_ms() * 9 / 10);
            }
        }
    }

    #[test]
    fn a_long_storm_takes_a_twentieth() {
        let (start, cycles) = (1_000 * tsc::cycles_per_ms(), cycles_of_a_pass());
        let mut budgets = [Budget::default()];
        storm(&mut budgets, start, 20, cycles);
        let spent = storm(&mut budgets, start + 20 * tsc::cycles_per_ms(), 200, cycles);
        let twentieth = 200 * tsc::cycles_per_ms() / 20;
        assert!(spent <= twentieth + cycles);
        assert!(spent >= twentieth * 9 / 10);
    }

    #[test]
    fn silence_saves_no_more_than_10_ms() {
        let mut budget = Budget::default();
        let saved = SAVED_MS * tsc::cycles_per_ms();
        assert!(budget.allows(Tsc::from_cycles(100 * saved)));
        budget.charge(saved / ONE_IN as u64 + 1, 1);
        assert!(!budget.allows(Tsc::from_cycles(100 * saved)));
    }

    #[test]
    fn a_counter_that_goes_back_earns_nothing() {
        let mut budget = Budget::default();
        let at = |milliseconds| Tsc::from_cycles(milliseconds * tsc::cycles_per_ms());
        assert!(budget.allows(at(100)));
        budget.charge(tsc::cycles_per_ms(), 1);
        assert!(!budget.allows(at(50)));
        assert!(!budget.allows(at(51)));
        assert!(budget.allows(at(61)));
    }

    #[test]
    fn prices_do_not_overflow() {
        let mut budget = Budget::default();
        assert!(budget.allows(Tsc::from_cycles(u64::MAX)));
        for _ in 0..3 {
            budget.charge(u64::MAX, usize::MAX);
            assert!(!budget.allows(Tsc::from_cycles(u64::MAX)));
        }
    }
}
