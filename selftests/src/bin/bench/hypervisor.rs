// SPDX-License-Identifier: GPL-2.0

//! The part of a path's time that mini-ACRN takes.

use acrn_selftests::probe::Probe;
use mini_acrn_channel::{ACCOUNT_TAKE, ACCOUNT_USER, TRACE_READ};

/// Measures the time that mini-ACRN spends.
pub struct Hypervisor<'a>(&'a Probe);

impl<'a> Hypervisor<'a> {
    /// Starts the measurement.
    pub fn watch(probe: &'a Probe) -> Self {
        probe.take_account();
        Self(probe)
    }

    /// Returns the time for each of `operations` in all exits.
    pub fn spent(self, operations: u64) -> u64 {
        let channel = TRACE_READ as u8..=ACCOUNT_TAKE as u8;
        self.spent_where(operations, |line| !channel.contains(&line))
    }

    /// Returns the time for each of `operations` in these hypercalls.
    pub fn spent_in(self, hypercalls: &[u32], operations: u64) -> u64 {
        self.spent_where(operations, |line| {
            hypercalls.iter().any(|id| *id as u8 == line)
        })
    }

    /// Returns the time of the longest hypercall, averaged over the hypercalls with the same ID.
    pub fn longest_hypercall(self) -> u64 {
        let account = self.0.take_account();
        let ids = ACCOUNT_USER + 1..TRACE_READ as u8 as usize;
        let calls = account.lines[ids].iter().filter(|spent| spent.exits > 0);
        let longest = calls.map(|spent| spent.ticks / spent.exits).max();
        longest.unwrap_or(0)
    }

    fn spent_where(self, operations: u64, counts: impl Fn(u8) -> bool) -> u64 {
        let account = self.0.take_account();
        let lines = (0..=u8::MAX).zip(&account.lines);
        let lines = lines.filter(|(line, _)| counts(*line));
        lines.map(|(_, spent)| spent.ticks).sum::<u64>() / operations
    }
}
