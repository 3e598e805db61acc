// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Reports ports and addresses without a device that the guest accesses.

use std::collections::BTreeSet;

/// The maximum number of addresses that are remembered, as the guest chooses them.
const LIMIT: usize = 256;

/// The ports and addresses without a device, each reported once.
pub struct Unbacked {
    enabled: bool,
    seen: BTreeSet<(&'static str, u64)>,
}

impl Unbacked {
    pub fn new(enabled: bool) -> Self {
        Unbacked {
            enabled,
            seen: BTreeSet::new(),
        }
    }

    /// Records an access of the guest.
    pub fn report(&mut self, kind: &'static str, place: u64) {
        if self.enabled && self.is_new(kind, place) {
            eprintln!("acrn-vmm: nothing at {kind} {place:#x}");
        }
    }

    fn is_new(&mut self, kind: &'static str, place: u64) -> bool {
        self.seen.len() < LIMIT && self.seen.insert((kind, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_counts_once_up_to_the_limit() {
        let mut unbacked = Unbacked::new(true);
        assert!(unbacked.is_new("port", 1));
        assert!(!unbacked.is_new("port", 1));
        assert!(unbacked.is_new("address", 1));
        assert_eq!(
            (2..1000)
                .filter(|port| unbacked.is_new("port", *port))
                .count(),
            LIMIT - 2
        );
    }
}
