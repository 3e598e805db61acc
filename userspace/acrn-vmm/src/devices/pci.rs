// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! PCI configuration space: a host bridge, and nothing else. The bridge has no registers to write.

use acrn_ioctls::Width;

/// What a guest expects of the chip that its kind of machine was built on: vendor 8086, device 1237, class
/// host bridge.
const HOST_BRIDGE: [u32; 3] = [0x1237_8086, 0, 0x0600_0002];

/// Reads configuration space.
pub fn read(bus: u32, device: u32, function: u32, register: u32, width: Width) -> u64 {
    if (bus, device, function) != (0, 0, 0) {
        return width.mask();
    }
    let word = HOST_BRIDGE.get(register as usize / 4).copied().unwrap_or(0);
    u64::from(word) >> (8 * (register % 4)) & width.mask()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridge_in_every_width() {
        assert_eq!(read(0, 0, 0, 0, Width::Four), 0x1237_8086);
        assert_eq!(read(0, 0, 0, 0, Width::Two), 0x8086);
        assert_eq!(read(0, 0, 0, 2, Width::Two), 0x1237);
        assert_eq!(read(0, 0, 0, 0xb, Width::One), 0x06);
        assert_eq!(read(0, 0, 0, 0xe, Width::One), 0);
        assert_eq!(read(0, 0, 0, u32::MAX, Width::Four), 0);
    }

    #[test]
    fn nothing_else_is_there() {
        assert_eq!(read(0, 0, 1, 0, Width::Four), 0xffff_ffff);
        assert_eq!(read(0, 1, 0, 0, Width::Two), 0xffff);
        assert_eq!(read(1, 0, 0, 0, Width::One), 0xff);
    }
}
