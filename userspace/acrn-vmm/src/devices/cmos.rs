// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The CMOS clock: the time in UTC, and 114 bytes of memory for the guest.

use std::time::{SystemTime, UNIX_EPOCH};

pub const INDEX: u16 = 0x70;
pub const DATA: u16 = 0x71;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY_OF_WEEK: u8 = 0x06;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const STATUS_C: u8 = 0x0c;
const STATUS_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

/// The usual time base and rate, without an update in progress: the time never changes during a
/// read.
const A_STEADY: u8 = 0x26;
/// 24 hours, BCD.
const B_24_HOURS_BCD: u8 = 0x02;
/// The battery is good.
const D_VALID: u8 = 0x80;

/// A date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    second: u8,
    minute: u8,
    hour: u8,
    /// 1 is Sunday.
    day_of_week: u8,
    day: u8,
    month: u8,
    year: u16,
}

impl Time {
    /// Converts seconds since 1970 to a date. It counts in 400-year cycles from 1 March of year 0,
    /// so that the leap day is the last day of a year.
    fn from_unix(seconds: u64) -> Self {
        const DAYS_TO_1970: u64 = 719_468;
        const DAYS_400_YEARS: u64 = 146_097;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + DAYS_TO_1970;
        let (cycle, day) = (shifted / DAYS_400_YEARS, shifted % DAYS_400_YEARS);
        let leaps = day / 1_460 - day / 36_524 + day / 146_096;
        let year = (day - leaps) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // The months from March on form groups of five with 153 days.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        Time {
            second: (second % 60) as u8,
            minute: (second / 60 % 60) as u8,
            hour: (second / 3_600) as u8,
            day_of_week: ((days + 4) % 7 + 1) as u8,
            day: day as u8,
            month: month as u8,
            year: (cycle * 400 + year + carry) as u16,
        }
    }
}

/// Returns the time of the Service VM in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn bcd(value: u8) -> u8 {
    ((value / 10) << 4) | (value % 10)
}

/// The clock chip.
pub struct Cmos {
    index: u8,
    memory: [u8; 128],
}

impl Default for Cmos {
    fn default() -> Self {
        Cmos {
            index: 0,
            memory: [0; 128],
        }
    }
}

impl Cmos {
    pub fn read(&self, port: u16, now: impl FnOnce() -> u64) -> u8 {
        if port != DATA {
            // The index cannot be read back.
            return 0xff;
        }
        let time = || Time::from_unix(now());
        match self.index {
            SECONDS => bcd(time().second),
            MINUTES => bcd(time().minute),
            HOURS => bcd(time().hour),
            DAY_OF_WEEK => bcd(time().day_of_week),
            DAY => bcd(time().day),
            MONTH => bcd(time().month),
            YEAR => bcd((time().year % 100) as u8),
            CENTURY => bcd((time().year / 100) as u8),
            STATUS_A => A_STEADY,
            STATUS_B => B_24_HOURS_BCD,
            STATUS_C => 0,
            STATUS_D => D_VALID,
            index => self.memory.get(usize::from(index)).copied().unwrap_or(0xff),
        }
    }

    pub fn write(&mut self, port: u16, value: u8) {
        if port == INDEX {
            // The top bit is the NMI mask.
            self.index = value & 0x7f;
        } else if let Some(byte) = self.memory.get_mut(usize::from(self.index)) {
            *byte = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: u64) -> (u16, u8, u8, u8) {
        let time = Time::from_unix(seconds);
        (time.year, time.month, time.day, time.day_of_week)
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), (1970, 1, 1, 5));
        assert_eq!(date(951_782_400), (2000, 2, 29, 3));
        assert_eq!(date(951_868_800), (2000, 3, 1, 4));
        assert_eq!(date(1_709_164_800), (2024, 2, 29, 5));
        assert_eq!(date(1_735_689_599), (2024, 12, 31, 3));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 2));
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut before = Time::from_unix(0);
        for day in 1..200_000 {
            let time = Time::from_unix(day * 86_400);
            let next_day = time.month == before.month && time.day == before.day + 1;
            let next_month =
                time.day == 1 && time.month == before.month % 12 + 1 && before.day >= 28;
            assert!(next_day || next_month, "{before:?} {time:?}");
            assert_eq!(time.day_of_week, before.day_of_week % 7 + 1);
            before = time;
        }
    }

    #[test]
    fn registers_are_bcd() {
        let mut cmos = Cmos::default();
        let mut read = |index| {
            cmos.write(INDEX, index | 0x80);
            cmos.read(DATA, || 1_735_689_599)
        };
        assert_eq!(
            [CENTURY, YEAR, MONTH, DAY].map(&mut read),
            [0x20, 0x24, 0x12, 0x31]
        );
        assert_eq!([HOURS, MINUTES, SECONDS].map(&mut read), [0x23, 0x59, 0x59]);
        assert_eq!(read(STATUS_A) & 0x80, 0);
        assert_eq!(read(STATUS_D), 0x80);
    }

    #[test]
    fn memory_keeps_what_is_written() {
        let mut cmos = Cmos::default();
        cmos.write(INDEX, 0x0f);
        cmos.write(DATA, 0x5a);
        assert_eq!(cmos.read(DATA, || 0), 0x5a);
    }
}
