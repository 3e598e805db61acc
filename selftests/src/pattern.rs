// SPDX-License-Identifier: GPL-2.0

//! Byte patterns that show whether a structure arrived unchanged.

/// Returns `size` bytes that are not zero and that differ for each `round`.
pub fn pattern(size: usize, round: usize) -> Vec<u8> {
    let bytes = 0..size;
    bytes
        .map(|at| ((at * 7 + round * 31) % 255) as u8 + 1)
        .collect()
}
