// SPDX-License-Identifier: GPL-2.0

//! Measurements with the TSC.

use acrn_selftests::harness;

/// Default number of rounds. It suffices to show that the path works.
const FEW: u64 = 5;
/// Number of operations before the measurement, which touch memory for the first time and make
/// tables grow.
pub const WARM_UP: u64 = 3;

/// Reads the TSC.
pub fn now() -> u64 {
    // SAFETY: x86-64 has RDTSC, and Linux lets programs execute it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Returns how often a short operation is repeated.
pub fn rounds() -> u64 {
    harness::rounds().unwrap_or(FEW)
}

/// Returns how often a long operation is repeated: once for each `share` short ones.
pub fn rounds_of(share: u64) -> u64 {
    (rounds() / share).max(2)
}

/// Repeats `operation` a few times without measuring it.
pub fn warm_up(operation: &mut impl FnMut()) {
    (0..WARM_UP).for_each(|_| operation());
}

/// TSC ticks of repeated operations.
pub struct Samples(Vec<u64>);

impl Samples {
    /// Measures `operation` for `rounds` rounds.
    pub fn take(rounds: u64, mut operation: impl FnMut()) -> Self {
        Self::collect(rounds, || {
            let from = now();
            operation();
            now() - from
        })
    }

    /// Repeats an operation that measures itself and returns its ticks.
    pub fn collect(rounds: u64, mut operation: impl FnMut() -> u64) -> Self {
        // Touches the memory before the measurement.
        let mut ticks = vec![u64::MAX; rounds as usize];
        ticks.iter_mut().for_each(|ticks| *ticks = operation());
        Self::of(ticks)
    }

    /// Makes samples from measured ticks.
    pub fn of(mut ticks: Vec<u64>) -> Self {
        ticks.sort_unstable();
        Self(ticks)
    }

    /// Returns the number of samples.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Returns the smallest sample that is not exceeded by `of` of `in_all` samples.
    fn quantile(&self, of: usize, in_all: usize) -> u64 {
        self.0[(self.0.len() * of).div_ceil(in_all).max(1) - 1]
    }

    /// Returns the sample that half of all samples do not exceed.
    pub fn median(&self) -> u64 {
        self.quantile(1, 2)
    }

    /// Returns the sample that 99 of 100 samples do not exceed.
    pub fn p99(&self) -> u64 {
        self.quantile(99, 100)
    }

    /// Returns the average.
    pub fn mean(&self) -> u64 {
        self.0.iter().sum::<u64>() / self.count()
    }

    /// Returns the largest sample.
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
        let figures = (samples.median(), samples.p99(), samples.max());
        assert_eq!(figures, (100, 198, 200));
        let one = Samples::of(vec![7]);
        assert_eq!((one.median(), one.p99(), one.max()), (7, 7, 7));
    }
}
