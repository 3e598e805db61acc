// SPDX-License-Identifier: GPL-2.0

//! Threads that race for some time, and until each of them has had a success, however slow the machine is.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::harness;

/// How long threads race.
const TIME: Duration = Duration::from_secs(3);

/// When threads that begin now have raced long enough.
pub fn end() -> Instant {
    Instant::now() + harness::seconds().map_or(TIME, Duration::from_secs)
}

/// A race of several parties.
pub struct Race {
    end: Instant,
    /// Parties that had no success yet.
    without: AtomicUsize,
    /// A party has failed.
    has_failed: AtomicBool,
}

/// Ends the race when a party panics: the others might wait for a success that it does not have any more.
struct Party<'a>(&'a Race);

impl Drop for Party<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.has_failed.store(true, Ordering::Relaxed);
        }
    }
}

impl Race {
    /// Of so many.
    pub fn of(parties: usize) -> Self {
        Self {
            end: end(),
            without: AtomicUsize::new(parties),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        let is_over = Instant::now() >= self.end && self.without.load(Ordering::Relaxed) == 0;
        !is_over && !self.has_failed.load(Ordering::Relaxed)
    }

    /// A party: runs `step` over and over, which says whether it went well.
    pub fn repeat(&self, name: &str, mut step: impl FnMut() -> bool) {
        let _party = Party(self);
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
        let contest = Race {
            end: Instant::now(),
            without: AtomicUsize::new(2),
            has_failed: AtomicBool::new(false),
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

    #[test]
    fn a_party_that_fails_ends_the_race() {
        let contest = Race {
            end: Instant::now(),
            without: AtomicUsize::new(2),
            has_failed: AtomicBool::new(false),
        };
        let failed = std::thread::scope(|scope| {
            let failing = scope.spawn(|| contest.repeat("failing", || panic!("as it should")));
            contest.repeat("never", || false);
            failing.join().is_err()
        });
        assert!(failed && !contest.goes_on());
    }
}
