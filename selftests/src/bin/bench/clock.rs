// SPDX-License-Identifier: GPL-2.0

//! The TSC, and what is timed by it.

use acrn_selftests::harness;

/// Rounds without a word from the caller: enough to see that the path can be gone.
const FEW: u64 = 5;
/// What goes before is not timed: memory that is touched for the first time, tables that grow.
pub const WARM_UP: u64 = 3;

/// The TSC.
pub fn now() -> u64 {
    // SAFETY: x86-64 has it, and Linux lets programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// How often a short operation is done.
pub fn rounds() -> u64 {
    harness::rounds().unwrap_or(FEW)
}

/// How often a long operation is done: once for each `share` short ones.
pub fn rounds_of(share: u64) -> u64 {
    (rounds() / share).max(2)
}

/// Does `operation` a few times.
pub fn warm_up(operation: &mut impl FnMut()) {
    (0..WARM_UP).for_each(|_| operation());
}

/// Ticks of each of many operations that are the same.
pub struct Samples(Vec<u64>);

impl Samples {
    /// Does `operation` that often.
    pub fn take(rounds: u64, mut operation: impl FnMut()) -> Self {
        Self::collect(rounds, || {
            let from = now();
            operation();
            now() - from
        })
    }

    /// The same of an operation that tells itself how long it took.
    pub fn collect(rounds: u64, mut operation: impl FnMut() -> u64) -> Self {
        // Touched before it is used.
        let mut ticks = vec![u64::MAX; rounds as usize];
        ticks.iter_mut().for_each(|ticks| *ticks = operation());
        Self::of(ticks)
    }

    /// Some that were taken.
    pub fn of(mut ticks: Vec<u64>) -> Self {
        ticks.sort_unstable();
        Self(ticks)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The one that `of` of `in_all` are not above.
    fn quantile(&self, of: usize, in_all: usize) -> u64 {
        self.0[(self.0.len() * of).div_ceil(in_all).max(1) - 1]
    }

    /// Half are not above it.
    pub fn median(&self) -> u64 {
        self.quantile(1, 2)
    }

    /// 99 of 100 are not above it.
    pub fn p99(&self) -> u64 {
        self.quantile(99, 100)
    }

    /// All of them over their number.
    pub fn mean(&self) -> u64 {
        self.0.iter().sum::<u64>() / self.count()
    }

    /// None is above it.
    pub fn max(&self) -> u64 {
        self.quantile(1, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn quantiles() {
        let samples = Samples::of((1..=200).rev().collect());
        let told = (samples.median(), samples.p99(), samples.max());
        assert_eq!(told, (100, 198, 200));
        let one = Samples::of(vec![7]);
        assert_eq!((one.median(), one.p99(), one.max()), (7, 7, 7));
    }
}
