// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Checks whether lockdep is active: it stops at its first warning, and when it runs out of
//! memory.

use std::fs;

/// Describes the problem if lockdep has stopped in a kernel that has it.
pub fn problem() -> Option<String> {
    let stats = fs::read_to_string("/proc/lockdep_stats").ok()?;
    (!watches(&stats)).then(|| "lockdep has given up".to_owned())
}

fn watches(stats: &str) -> bool {
    let state = stats
        .lines()
        .find_map(|line| line.trim().strip_prefix("debug_locks:"));
    state.is_none_or(|state| state.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::watches;

    #[test]
    fn the_state_is_found() {
        assert!(watches(" lock-classes: 12\n debug_locks:            1\n"));
        assert!(!watches(" lock-classes: 12\n debug_locks:            0\n"));
    }
}
