// SPDX-License-Identifier: GPL-2.0

//! PCI configuration mechanism #1: accesses to the ports 0xCF8 and 0xCFC become requests for PCI
//! configuration space.
//!
//! The guest latches an address by a 4-byte write to port 0xCF8, and accesses the register with
//! that address at the ports 0xCFC to 0xCFF (PCI Local Bus Specification 3.0, 3.2.2.3.2). ACRN
//! passes both on as port I/O.

use super::access::{
    Access,
    Direction,
    PciConfigAddress,
    Space, //
};
use kernel::{
    bitfield,
    macros::kunit_tests, //
};

const ADDRESS_PORT: u64 = 0xCF8;
const DATA_PORT: u64 = 0xCFC;
const DATA_END: u64 = DATA_PORT + 4;

/// The effect of an access under configuration mechanism #1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigAccess {
    /// None: the access is for another handler.
    Other,
    /// Complete: a write has taken effect, a read returns this value.
    Done(u32),
    /// An access to configuration space.
    Config(PciConfigAddress),
}

bitfield! {
    /// The address register at port 0xCF8.
    pub(super) struct AddressRegister(u32) {
        31:31 enable;
        // Extends the register number beyond the first 256 bytes, as ACRN's device model expects.
        27:24 register_high;
        23:16 bus;
        15:11 device;
        10:8 function;
        7:2 register;
    }
}

impl AddressRegister {
    /// Interprets an access.
    ///
    /// A narrow access to port 0xCF8 is not for this register: chipsets have others there, such as
    /// reset control at 0xCF9.
    pub(super) fn access(&mut self, access: &Access) -> ConfigAccess {
        match (access.space, access.address, access.size) {
            (Space::Port, ADDRESS_PORT, 4) => {
                if let Direction::Write(value) = access.direction {
                    // 4 bytes, by the pattern.
                    *self = Self::from(value as u32);
                }
                ConfigAccess::Done(self.into_raw())
            }
            (Space::Port, port @ DATA_PORT..DATA_END, 1..=4) if access.size <= DATA_END - port => {
                // Less than 4, by the pattern.
                self.data((port - DATA_PORT) as u32)
            }
            _ => ConfigAccess::Other,
        }
    }

    fn data(&self, offset: u32) -> ConfigAccess {
        if !bool::from(self.enable()) {
            return ConfigAccess::Done(u32::MAX);
        }
        ConfigAccess::Config(PciConfigAddress {
            bus: self.bus().get(),
            device: self.device().get(),
            function: self.function().get(),
            register: self.register_high().get() << 8 | self.register().get() << 2 | offset,
        })
    }
}

#[kunit_tests(acrn_hsm_pci_config)]
mod tests {
    use super::*;

    fn port(address: u64, size: u64, direction: Direction) -> Access {
        Access {
            space: Space::Port,
            direction,
            address,
            size,
        }
    }

    fn latch(value: u64) -> AddressRegister {
        let mut register = AddressRegister::from(0);
        let access = port(ADDRESS_PORT, 4, Direction::Write(value));
        assert!(register.access(&access) == ConfigAccess::Done(value as u32));
        register
    }

    #[test]
    fn a_latched_address_is_decoded() {
        // Bus 0xAB, device 0x15, function 6, register 0x3C; all other bits must not matter.
        for reserved in [0, 0x7000_0000, 3] {
            let mut register =
                latch(0x8000_0000 | 0xAB << 16 | 0x15 << 11 | 6 << 8 | 0x3C | reserved);
            for offset in 0..4 {
                let access = port(DATA_PORT + offset, 1, Direction::Read);
                let expected = PciConfigAddress {
                    bus: 0xAB,
                    device: 0x15,
                    function: 6,
                    register: 0x3C + offset as u32,
                };
                assert!(register.access(&access) == ConfigAccess::Config(expected));
            }
        }
    }

    #[test]
    fn the_register_number_has_12_bits() {
        let mut register = latch(0x8F00_00FC);
        let access = port(DATA_PORT, 4, Direction::Write(1));
        let expected = PciConfigAddress {
            bus: 0,
            device: 0,
            function: 0,
            register: 0xFFC,
        };
        assert!(register.access(&access) == ConfigAccess::Config(expected));
    }

    #[test]
    fn without_enable_there_is_no_device() {
        let mut register = latch(0x7FFF_FFFF);
        let access = port(DATA_PORT, 4, Direction::Read);
        assert!(register.access(&access) == ConfigAccess::Done(u32::MAX));
    }

    #[test]
    fn the_register_reads_back() {
        let mut register = latch(0xDEAD_BEEF);
        let access = port(ADDRESS_PORT, 4, Direction::Read);
        assert!(register.access(&access) == ConfigAccess::Done(0xDEAD_BEEF));
    }

    #[test]
    fn unrelated_accesses_are_not_handled() {
        let mut register = latch(0x8000_0000);
        for (address, size) in [
            (ADDRESS_PORT, 1),
            (ADDRESS_PORT, 2),
            (ADDRESS_PORT + 1, 1),
            (DATA_PORT, 8),
            (DATA_PORT + 1, 4),
            (DATA_PORT + 3, 2),
            (DATA_END, 1),
        ] {
            let access = port(address, size, Direction::Write(u64::MAX));
            assert!(register.access(&access) == ConfigAccess::Other);
        }
        let memory = Access {
            space: Space::Memory,
            ..port(ADDRESS_PORT, 4, Direction::Write(0))
        };
        assert!(register.access(&memory) == ConfigAccess::Other);
        assert_eq!(register.into_raw(), 0x8000_0000);
    }
}
