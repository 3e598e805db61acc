// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Account of the time that vCPUs spend in mini-ACRN, by hypercall (`mini_acrn_channel::Account`).

use core::sync::atomic::{AtomicU64, Ordering};
use mini_acrn_channel::{ACCOUNT_LINES, Account, Spent};

struct Line {
    ticks: AtomicU64,
    exits: AtomicU64,
}

static LINES: [Line; ACCOUNT_LINES] =
    [const { Line { ticks: AtomicU64::new(0), exits: AtomicU64::new(0) } }; ACCOUNT_LINES];

/// Adds an exit to `line`.
pub fn add(line: u8, ticks: u64) {
    let line = &LINES[usize::from(line)];
    line.ticks.fetch_add(ticks, Ordering::Relaxed);
    line.exits.fetch_add(1, Ordering::Relaxed);
}

/// Returns the account since the last call, and resets it.
pub fn take() -> Account {
    let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
    Account {
        lines: LINES
            .each_ref()
            .map(|line| Spent { ticks: take(&line.ticks), exits: take(&line.exits) }),
    }
}
