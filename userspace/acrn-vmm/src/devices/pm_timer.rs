// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The ACPI PM timer: 24 bits that count at 3.579545 MHz. A guest without a PIT calibrates the
//! timer of its local APIC by it.

use std::time::{Duration, Instant};

use super::pm;

pub const FIRST: u16 = pm::EVENT_BLOCK + 8;
pub const LAST: u16 = FIRST + 3;

const HERTZ: u128 = 3_579_545;
const MASK: u32 = 0x00ff_ffff;

/// The counter.
pub struct PmTimer {
    start: Instant,
    /// The count at the last read of the lowest byte, so that the other bytes belong to the same
    /// time.
    latched: u32,
}

impl Default for PmTimer {
    fn default() -> Self {
        PmTimer {
            start: Instant::now(),
            latched: 0,
        }
    }
}

fn ticks(elapsed: Duration) -> u32 {
    (elapsed.as_nanos() * HERTZ / 1_000_000_000) as u32 & MASK
}

impl PmTimer {
    pub fn read(&mut self, port: u16) -> u8 {
        self.read_after(port, self.start.elapsed())
    }

    fn read_after(&mut self, port: u16, elapsed: Duration) -> u8 {
        if port == FIRST {
            self.latched = ticks(elapsed);
        }
        let [b0, b1, b2, b3] = self.latched.to_le_bytes();
        match port - FIRST {
            0 => b0,
            1 => b1,
            2 => b2,
            _ => b3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_at_its_rate_and_wraps_at_24_bits() {
        assert_eq!(ticks(Duration::from_secs(1)), 3_579_545);
        assert_eq!(ticks(Duration::from_millis(100)), 357_954);
        assert_eq!(ticks(Duration::from_secs(5)), 17_897_725 - (1 << 24));
        assert!(ticks(Duration::from_secs(1 << 40)) <= MASK);
    }

    #[test]
    fn a_read_is_of_one_moment() {
        let mut timer = PmTimer::default();
        let bytes = [0, 1, 2, 3].map(|n| {
            timer.read_after(FIRST + n, Duration::from_millis(100 + u64::from(n) * 1_000))
        });
        assert_eq!(u32::from_le_bytes(bytes), 357_954);
    }
}
