// SPDX-License-Identifier: GPL-2.0

//! Threads that race for some time, and until each of them has succeeded once, however slow the
//! machine is.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::harness;

/// Default duration of a race.
const TIME: Duration = Duration::from_secs(3);

/// Returns the end of a race that begins now.
pub fn end() -> Instant {
    Instant::now() + harness::seconds().map_or(TIME, Duration::from_secs)
}

/// A race of several threads.
pub struct Race {
    end: Instant,
    /// Number of threads that have not succeeded yet.
    without: AtomicUsize,
    /// A thread has panicked.
    has_failed: AtomicBool,
}

/// Ends the race when a thread panics: the others might wait for a success that cannot come any
/// more.
struct Party<'a>(&'a Race);

impl Drop for Party<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.has_failed.store(true, Ordering::Relaxed);
        }
    }
}

impl Race {
    /// Creates a race of `parties` threads.
    pub fn of(parties: usize) -> Self {
        Self {
            end: end(),
            without: AtomicUsize::new(parties),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Returns whether the race goes on.
    pub fn goes_on(&self) -> bool {
        let is_over = Instant::now() >= self.end && self.without.load(Ordering::Relaxed) == 0;
        !is_over && !self.has_failed.load(Ordering::Relaxed)
    }

    /// Runs `step` repeatedly in one of the threads, until the race ends. `step` returns whether it
    /// succeeded.
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
