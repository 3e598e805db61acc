// SPDX-License-Identifier: GPL-2.0

//! Bytes that tell a structure that arrived from one that did not.

/// `size` bytes, none of which is zero and no two rounds of which are alike.
pub fn pattern(size: usize, round: usize) -> Vec<u8> {
    let bytes = 0..size;
    bytes
        .map(|at| ((at * 7 + round * 31) % 255) as u8 + 1)
        .collect()
}
