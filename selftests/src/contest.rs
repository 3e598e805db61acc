// SPDX-License-Identifier: GPL-2.0

//! Threads that race for some time: at least until what each of them does went well once, however slow the machine is.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::harness;

/// How long threads race.
const TIME: Duration = Duration::from_secs(3);

/// A moment from now on until when threads race.
pub fn end() -> Instant {
    Instant::now() + harness::seconds().map_or(TIME, Duration::from_secs)
}

/// A race of several parties.
pub struct Contest {
    end: Instant,
    /// Parties that had no success yet.
    without: AtomicUsize,
}

impl Contest {
    /// Of so many.
    pub fn of(parties: usize) -> Self {
        Self {
            end: end(),
            without: AtomicUsize::new(parties),
        }
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        Instant::now() < self.end || self.without.load(Ordering::Relaxed) > 0
    }

    /// A party: has `step` done over and over, which says whether it went well.
    pub fn repeat(&self, name: &str, mut step: impl FnMut() -> bool) {
        let mut done = 0;
        while self.goes_on() {
            if step() {
                if done == 0 {
                    self.without.fetch_sub(1, Ordering::Relaxed);
                }
                done += 1;
            }
        }
        println!("{name}: {done} times");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parties_have_a_success() {
        let contest = Contest {
            end: Instant::now(),
            without: AtomicUsize::new(2),
        };
        let mut steps = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| contest.repeat("at once", || true));
            contest.repeat("late", || {
                steps += 1;
                steps == 10
            });
        });
        assert!(steps >= 10, "it ended before");
        assert!(!contest.goes_on());
    }
}
