// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The configuration space of a function: 256 bytes of registers with a mask of writable bits.

use acrn_ioctls::Width;

const SIZE: usize = 256;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const CLASS: usize = 0x08;
const BAR0: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
/// The offset of the first capability.
const FIRST_CAPABILITY: usize = 0x40;

const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_NO_INTX: u16 = 1 << 10;
const STATUS_CAPABILITIES: u16 = 1 << 4;

/// The identity of a function.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    pub vendor: u16,
    pub device: u16,
    /// Base class, subclass, interface.
    pub class: u32,
    pub revision: u8,
    pub subsystem_vendor: u16,
    pub subsystem: u16,
}

/// The registers.
#[derive(Clone)]
pub struct ConfigSpace {
    registers: [u8; SIZE],
    writable: [u8; SIZE],
    /// The offset of the next capability.
    end: usize,
    /// The offset of the register that links to the next capability.
    link: usize,
}

impl ConfigSpace {
    /// Returns the configuration space of a function without BARs and capabilities.
    pub fn new(identity: &Identity) -> Self {
        let mut space = ConfigSpace {
            registers: [0; SIZE],
            writable: [0; SIZE],
            end: FIRST_CAPABILITY,
            link: CAPABILITIES,
        };
        space.put(0, &identity.vendor.to_le_bytes());
        space.put(2, &identity.device.to_le_bytes());
        let class = identity.class << 8 | u32::from(identity.revision);
        space.put(CLASS, &class.to_le_bytes());
        space.put(SUBSYSTEM, &identity.subsystem_vendor.to_le_bytes());
        space.put(SUBSYSTEM + 2, &identity.subsystem.to_le_bytes());
        space
    }

    /// Adds BAR 0: memory below 4 GiB of `size` bytes, a power of two. A guest reads the size after
    /// it has written ones.
    pub fn add_bar(&mut self, address: u32, size: u32) {
        debug_assert!(size.is_power_of_two() && size >= 16 && address.is_multiple_of(size));
        self.put(BAR0, &address.to_le_bytes());
        self.writable[BAR0..BAR0 + 4].copy_from_slice(&(!(size - 1)).to_le_bytes());
        let command = COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX;
        self.writable[COMMAND..COMMAND + 2].copy_from_slice(&command.to_le_bytes());
    }

    /// Adds a capability and returns its offset. `body` follows the id and the link.
    pub fn add_capability(&mut self, id: u8, body: &[u8]) -> usize {
        let at = self.end;
        self.put(self.link, &[at as u8]);
        self.put(at, &[id, 0]);
        self.put(at + 2, body);
        self.link = at + 1;
        self.end = (at + 2 + body.len()).next_multiple_of(4);
        let status = self.u16(STATUS) | STATUS_CAPABILITIES;
        self.put(STATUS, &status.to_le_bytes());
        at
    }

    /// Makes these bits of a register writable.
    pub fn set_writable(&mut self, at: usize, bits: u16) {
        self.writable[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.registers[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Returns a register of two bytes.
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.registers[at], self.registers[at + 1]])
    }

    /// Returns the address of the BAR, if the function decodes it.
    pub fn bar(&self) -> Option<u64> {
        if self.u16(COMMAND) & COMMAND_MEMORY == 0 {
            return None;
        }
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| self.registers[BAR0 + n]);
        Some(u32::from_le_bytes([a, b, c, d]).into())
    }

    /// Reads registers. Bytes beyond the end are ones.
    pub fn read(&self, register: u32, width: Width) -> u64 {
        let byte = |offset: u64| {
            let at = u64::from(register) + offset;
            self.registers.get(at as usize).copied().unwrap_or(0xff)
        };
        (0..width.bytes()).fold(0, |value, n| value | u64::from(byte(n)) << (8 * n))
    }

    /// Writes registers.
    pub fn write(&mut self, register: u32, width: Width, value: u64) {
        let bytes = value.to_le_bytes();
        for (at, byte) in (register as usize..).zip(&bytes[..width.bytes() as usize]) {
            if let (Some(register), Some(mask)) =
                (self.registers.get_mut(at), self.writable.get(at))
            {
                *register = *register & !mask | byte & mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: u32 = 0xc000_4000;

    fn space() -> ConfigSpace {
        let mut space = ConfigSpace::new(&Identity {
            vendor: 0x1af4,
            device: 0x1042,
            class: 0x01_8000,
            revision: 1,
            subsystem_vendor: 0x1af4,
            subsystem: 0x42,
        });
        space.add_bar(ADDRESS, 0x4000);
        space
    }

    #[test]
    fn identity_is_where_guests_look() {
        let space = space();
        assert_eq!(space.read(0, Width::Four), 0x1042_1af4);
        assert_eq!(space.read(8, Width::Four), 0x0180_0001);
        assert_eq!(space.read(0x2c, Width::Four), 0x42_1af4);
    }

    #[test]
    fn bar_has_a_size_and_moves() {
        let mut space = space();
        assert_eq!(space.bar(), None);
        space.write(0x10, Width::Four, 0xffff_ffff);
        assert_eq!(space.read(0x10, Width::Four), 0xffff_c000);
        space.write(0x10, Width::Four, 0xd000_1234);
        space.write(4, Width::Two, 6);
        assert_eq!(space.bar(), Some(0xd000_0000));
        // Access in parts.
        space.write(0x13, Width::One, 0xe0);
        assert_eq!(space.bar(), Some(0xe000_0000));
        // The other BARs do not exist.
        space.write(0x14, Width::Four, 0xffff_ffff);
        assert_eq!(space.read(0x14, Width::Four), 0);
    }

    #[test]
    fn capabilities_are_a_list() {
        let mut space = space();
        assert_eq!(space.read(6, Width::Two), 0);
        let first = space.add_capability(9, &[1, 2, 3]);
        let second = space.add_capability(0x11, &[0; 10]);
        space.set_writable(second + 2, 0xc000);
        assert_eq!(space.read(6, Width::Two), 0x10);
        assert_eq!(space.read(0x34, Width::One), first as u64);
        assert_eq!(
            space.read(first as u32, Width::Four),
            0x0201_0009 | (second as u64) << 8
        );
        assert_eq!(space.read(second as u32, Width::Two), 0x11);
        assert_eq!(second % 4, 0);
        space.write(second as u32, Width::Four, 0xffff_ffff);
        assert_eq!(space.u16(second + 2), 0xc000);
    }

    #[test]
    fn no_access_is_out_of_bounds() {
        let mut space = space();
        for register in [0xfd, 0xff, 0x100, 0xfff, u32::MAX] {
            for width in [Width::One, Width::Two, Width::Four] {
                space.write(register, width, u64::MAX);
                let _ = space.read(register, width);
            }
        }
        assert_eq!(space.read(0xfe, Width::Four), 0xffff_0000);
        assert_eq!(space.read(0x100, Width::Two), 0xffff);
    }
}
