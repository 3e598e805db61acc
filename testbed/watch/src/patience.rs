// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Time limits for what may hang.
//!
//! A machine that is stopped, or does not get its CPU, must not fail for it. So not all counts that the clock says: from
//! one look at it to the next it is [`LOOK`] at most.

use std::{
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// Who waits looks at least so often.
pub const LOOK: Duration = Duration::from_millis(100);

/// What is left of a time limit.
pub struct Patience(Vec<Limit>);

impl Patience {
    /// A limit from now on.
    pub fn new(limit: Duration) -> Self {
        Self(Vec::new()).or(time, limit)
    }

    /// The same, and another limit by another clock.
    pub fn or(mut self, clock: fn() -> Duration, left: Duration) -> Self {
        let last = clock();
        self.0.push(Limit { clock, last, left });
        self
    }

    /// Looks at the clock. Whether the time is over.
    pub fn is_over(&mut self) -> bool {
        self.0.iter_mut().for_each(Limit::spend);
        self.0.iter().any(|limit| limit.left.is_zero())
    }

    /// Waits for something to receive.
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
    /// When it was looked at.
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

/// Time since the first call.
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
