// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Time limits for operations that may hang.
//!
//! A machine that is stopped, or does not get its CPU, must not fail because of that. So not all of
//! the elapsed time counts: between two looks at the clock, at most [`LOOK`] counts.

use std::{
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// Maximum interval between two looks at the clock.
pub const LOOK: Duration = Duration::from_millis(100);

/// The rest of a time limit.
pub struct Patience(Vec<Limit>);

impl Patience {
    /// Creates a limit that starts now.
    pub fn new(limit: Duration) -> Self {
        Self(Vec::new()).or(time, limit)
    }

    /// Adds another limit by another clock.
    pub fn or(mut self, clock: fn() -> Duration, left: Duration) -> Self {
        let last = clock();
        self.0.push(Limit { clock, last, left });
        self
    }

    /// Looks at the clock. Returns whether the time is over.
    pub fn is_over(&mut self) -> bool {
        self.0.iter_mut().for_each(Limit::spend);
        self.0.iter().any(|limit| limit.left.is_zero())
    }

    /// Waits for a message. Fails with `Timeout` when the time is over.
    pub fn receive<T>(&mut self, receiver: &Receiver<T>) -> Result<T, RecvTimeoutError> {
        loop {
            match receiver.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) if !self.is_over() => {}
                other => return other,
            }
        }
    }
}

struct Limit {
    clock: fn() -> Duration,
    /// Reading of the clock at the last look.
    last: Duration,
    left: Duration,
}

impl Limit {
    fn spend(&mut self) {
        let now = (self.clock)();
        let passed = now.saturating_sub(self.last);
        self.left = self.left.saturating_sub(passed.min(LOOK));
        self.last = now;
    }
}

/// Returns the time since the first call.
fn time() -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    };

    #[test]
    fn a_stall_is_one_look() {
        static SECONDS: AtomicU64 = AtomicU64::new(0);
        let clock = || Duration::from_secs(SECONDS.load(Ordering::Relaxed));
        let mut patience = Patience::new(LOOK * 1000).or(clock, LOOK * 2);
        assert!(!patience.is_over());
        SECONDS.store(1000, Ordering::Relaxed);
        assert!(!patience.is_over() && !patience.is_over());
        SECONDS.store(2000, Ordering::Relaxed);
        assert!(patience.is_over());
    }

    #[test]
    fn what_comes_in_time_is_received() {
        let (sender, receiver) = mpsc::channel();
        sender.send(7).unwrap();
        assert_eq!(Patience::new(Duration::ZERO).receive(&receiver), Ok(7));
        let began = Instant::now();
        let late = Patience::new(LOOK * 2).receive(&receiver);
        assert_eq!(late, Err(RecvTimeoutError::Timeout));
        assert!(began.elapsed() >= LOOK * 2);
        drop(sender);
        let gone = Patience::new(LOOK).receive(&receiver);
        assert_eq!(gone, Err(RecvTimeoutError::Disconnected));
    }
}
