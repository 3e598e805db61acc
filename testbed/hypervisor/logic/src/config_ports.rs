// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The ports of PCI configuration mechanism #1, as far as ACRN itself emulates them.
//!
//! This is for a VM whose PCI devices are all emulated by the device model. The other accesses
//! become I/O requests.

const ADDRESS_PORT: u16 = 0xCF8;
const DATA_PORT: u16 = 0xCFC;
const DATA_END: u16 = DATA_PORT + 4;
const ENABLE: u32 = 1 << 31;
/// The bits of the register that can be written: not 30:24 and 1:0.
const WRITABLE: u32 = !0x7F00_0003;
const ONES: u64 = 0xFFFF_FFFF;

/// The outcome of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// The access is complete. Holds the value of a read.
    Done(u64),
    /// The access becomes an I/O request.
    PassedOn,
}

/// The configuration address register.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct AddressRegister(u32);

impl AddressRegister {
    /// Returns the register after reset.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Reads (`write` is `None`) or writes `size` bytes at `port`. Only the first port counts.
    pub fn access(&mut self, port: u16, size: usize, write: Option<u64>) -> Access {
        match (port, size, write) {
            (ADDRESS_PORT, 4, Some(value)) => {
                self.0 = value as u32 & WRITABLE;
                Access::PassedOn
            }
            (ADDRESS_PORT, 4, None) => Access::Done(self.0.into()),
            (ADDRESS_PORT, ..) => Access::Done(ONES),
            (DATA_PORT..DATA_END, ..) => self.data(port, size),
            _ => Access::PassedOn,
        }
    }

    /// Accesses a data port. Each address is valid for one access.
    fn data(&mut self, port: u16, size: usize) -> Access {
        let address = core::mem::take(&mut self.0);
        // Registers are aligned to 4 bytes.
        let is_aligned = usize::from(port - DATA_PORT).is_multiple_of(size);
        if address & ENABLE != 0 && is_aligned { Access::PassedOn } else { Access::Done(ONES) }
    }
}

#[cfg(test)]
mod tests {
    use super::Access::{Done, PassedOn};
    use super::*;

    fn after_write(value: u64) -> AddressRegister {
        let mut register = AddressRegister::new();
        assert_eq!(register.access(ADDRESS_PORT, 4, Some(value)), PassedOn);
        register
    }

    #[test]
    fn the_address_is_read_here() {
        assert_eq!(AddressRegister::new().access(ADDRESS_PORT, 4, None), Done(0));
        assert_eq!(after_write(0xFFFF_FFFF).access(ADDRESS_PORT, 4, None), Done(0x80FF_FFFC));
    }

    #[test]
    fn narrow_accesses_to_the_address_end_here() {
        let mut register = after_write(0x8000_1000);
        for size in [1, 2] {
            assert_eq!(register.access(ADDRESS_PORT, size, None), Done(ONES));
            assert_eq!(register.access(ADDRESS_PORT, size, Some(0)), Done(ONES));
        }
        assert_eq!(register.access(ADDRESS_PORT, 4, None), Done(0x8000_1000));
        assert_eq!(register.access(0xCF9, 1, Some(6)), PassedOn, "the reset control register");
    }

    #[test]
    fn an_address_is_good_for_one_access() {
        let mut register = after_write(0x8000_1000);
        assert_eq!(register.access(DATA_PORT + 2, 2, None), PassedOn);
        assert_eq!(register.access(DATA_PORT, 4, None), Done(ONES));
        assert_eq!(register.access(DATA_PORT, 4, Some(1)), Done(ONES));
        assert_eq!(register.access(ADDRESS_PORT, 4, None), Done(0));
    }

    #[test]
    fn nothing_is_behind_a_disabled_or_unaligned_address() {
        assert_eq!(after_write(0x1000).access(DATA_PORT, 4, None), Done(ONES));
        for (offset, size) in [(1, 2), (3, 2), (1, 4), (2, 4)] {
            let port = DATA_PORT + offset;
            assert_eq!(
                after_write(ENABLE.into()).access(port, size, None),
                Done(ONES),
                "{offset}, {size}"
            );
        }
    }
}
