// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The memory map for Linux: the firmware's map with mini-ACRN's memory reserved.

use alloc::vec::Vec;
use core::ops::Range;

/// Type of memory that the OS may use.
pub const RAM: u32 = 1;
/// Type of memory that the OS must not use.
pub const RESERVED: u32 = 2;

/// A range of the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Address of the first byte.
    pub base: u64,
    /// Length in bytes.
    pub len: u64,
    /// [`RAM`], [`RESERVED`], or another type of the firmware.
    pub kind: u32,
}

impl Entry {
    fn end(&self) -> u64 {
        self.base.saturating_add(self.len)
    }
}

/// Returns `map` with `hole` removed from every RAM entry and added as reserved.
pub fn reserve(map: &[Entry], hole: Range<u64>) -> Vec<Entry> {
    let mut out = Vec::new();
    for e in map {
        if e.kind != RAM || e.end() <= hole.start || e.base >= hole.end {
            out.push(*e);
            continue;
        }
        if e.base < hole.start {
            out.push(Entry { len: hole.start - e.base, ..*e });
        }
        if e.end() > hole.end {
            out.push(Entry { base: hole.end, len: e.end() - hole.end, ..*e });
        }
    }
    out.push(Entry { base: hole.start, len: hole.end - hole.start, kind: RESERVED });
    out.sort_by_key(|e| e.base);
    out
}

/// Returns the first address above all RAM.
pub fn top_of_ram(map: &[Entry]) -> u64 {
    map.iter().filter(|e| e.kind == RAM).map(Entry::end).max().unwrap_or(0)
}

/// Returns whether `range` is inside one RAM entry.
pub fn is_ram(map: &[Entry], range: Range<u64>) -> bool {
    map.iter().any(|e| e.kind == RAM && e.base <= range.start && range.end <= e.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ram(base: u64, end: u64) -> Entry {
        Entry { base, len: end - base, kind: RAM }
    }

    #[test]
    fn a_hole_splits_the_entry_it_lies_in() {
        let map = [ram(0, 0x9000), ram(0x10_0000, 0x100_0000)];
        let got = reserve(&map, 0x40_0000..0x50_0000);
        assert_eq!(
            got,
            [
                ram(0, 0x9000),
                ram(0x10_0000, 0x40_0000),
                Entry { base: 0x40_0000, len: 0x10_0000, kind: RESERVED },
                ram(0x50_0000, 0x100_0000),
            ]
        );
        assert_eq!(top_of_ram(&got), 0x100_0000);
        assert!(is_ram(&got, 0x10_0000..0x40_0000));
        assert!(!is_ram(&got, 0x3F_F000..0x40_1000));
    }

    #[test]
    fn a_hole_swallows_what_it_covers() {
        let got = reserve(&[ram(0x1000, 0x2000)], 0..0x10_0000);
        assert_eq!(got, [Entry { base: 0, len: 0x10_0000, kind: RESERVED }]);
    }
}
