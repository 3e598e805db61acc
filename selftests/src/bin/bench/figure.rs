// SPDX-License-Identifier: GPL-2.0

//! What is told of a path: a line that the runner reads.

use std::fmt::Write;

use crate::{clock::Samples, guest::Trips};

/// `bench: PATH WORK: KEY=NUMBER KEY=NUMBER`.
pub struct Figure(String);

impl Figure {
    /// Of `work` on a path.
    pub fn of(path: &str, work: &str) -> Self {
        Self(format!("bench: {path} {work}:"))
    }

    /// With a number.
    pub fn with(mut self, key: &str, number: u64) -> Self {
        write!(self.0, " {key}={number}").expect("a string takes all");
        self
    }

    /// With the ticks of an operation.
    pub fn times(self, samples: &Samples) -> Self {
        self.with("rounds", samples.count())
            .with("median", samples.median())
            .with("p99", samples.p99())
            .with("max", samples.max())
    }

    /// With what a guest's requests took.
    pub fn trips(self, trips: &Trips) -> Self {
        self.times(&trips.samples)
            .with("hypervisor", trips.hypervisor)
    }

    /// With what they took on average, those included that had to wait.
    pub fn average(self, trips: &Trips) -> Self {
        self.with("rounds", trips.samples.count())
            .with("value", trips.samples.mean())
            .with("max", trips.samples.max())
    }

    /// That is the ratio of two numbers.
    pub fn ratio(self, number: u64, to: u64) -> Self {
        self.with("permille", (1000 * number).div_ceil(to))
    }

    /// Says it.
    pub fn tell(self) {
        println!("{}", self.0);
    }
}
