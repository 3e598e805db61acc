// SPDX-License-Identifier: GPL-2.0

//! The line that reports a path to the runner.

use std::fmt::Write;

use crate::{clock::Samples, guest::Trips};

/// A line `bench: PATH WORK: KEY=NUMBER KEY=NUMBER`.
pub struct Figure(String);

impl Figure {
    /// Starts a line for `work` on a path.
    pub fn of(path: &str, work: &str) -> Self {
        Self(format!("bench: {path} {work}:"))
    }

    /// Adds a number.
    pub fn with(mut self, key: &str, number: u64) -> Self {
        write!(self.0, " {key}={number}").expect("a string takes all");
        self
    }

    /// Adds the ticks of an operation.
    pub fn times(self, samples: &Samples) -> Self {
        self.with("rounds", samples.count())
            .with("median", samples.median())
            .with("p99", samples.p99())
            .with("max", samples.max())
    }

    /// Adds the ticks of a guest's requests.
    pub fn trips(self, trips: &Trips) -> Self {
        self.times(&trips.samples)
            .with("hypervisor", trips.hypervisor)
    }

    /// Adds the average of a guest's requests, including those that had to wait.
    pub fn average(self, trips: &Trips) -> Self {
        self.with("rounds", trips.samples.count())
            .with("value", trips.samples.mean())
            .with("max", trips.samples.max())
    }

    /// Adds the ratio of two numbers.
    pub fn ratio(self, number: u64, to: u64) -> Self {
        self.with("permille", (1000 * number).div_ceil(to))
    }

    /// Prints the line.
    pub fn print(self) {
        println!("{}", self.0);
    }
}
