// SPDX-License-Identifier: GPL-2.0

//! PCI configuration mechanism #1: ports 0xCF8 and 0xCFC made into PCI configuration requests.
//!
//! The guest latches an address with a 4-byte write to 0xCF8, and reaches the register behind it at
//! 0xCFC to 0xCFF (PCI Local Bus Specification 3.0, 3.2.2.3.2). ACRN passes both on as port I/O.

use super::request_page::{
    Access,
    Direction,
    PciConfigAddress,
    Space, //
};

const ADDRESS_PORT: u64 = 0xCF8;
const DATA_PORT: u64 = 0xCFC;
const DATA_END: u64 = DATA_PORT + 4;

/// What an access means under configuration mechanism #1.
pub(super) enum Meaning {
    /// Nothing: the access goes on as it is.
    Other,
    /// Done here: a write took effect, a read returns this.
    Done(u32),
    /// An access to configuration space.
    Config(PciConfigAddress),
}

/// The address register at port 0xCF8.
#[derive(Default)]
pub(super) struct AddressRegister(u32);

impl AddressRegister {
    const ENABLE: u32 = 1 << 31;

    /// Interprets an access. A narrow access to 0xCF8 is not for this register: chipsets have others
    /// there (reset control at 0xCF9).
    pub(super) fn access(&mut self, access: &Access) -> Meaning {
        match (access.space, access.address, access.size) {
            (Space::Port, ADDRESS_PORT, 4) => {
                if let Direction::Write(value) = access.direction {
                    // 4 bytes, by the pattern.
                    self.0 = value as u32;
                }
                Meaning::Done(self.0)
            }
            (Space::Port, port @ DATA_PORT..DATA_END, 1..=4) if access.size <= DATA_END - port => {
                // Less than 4, by the pattern.
                self.data((port - DATA_PORT) as u32)
            }
            _ => Meaning::Other,
        }
    }

    fn data(&self, offset: u32) -> Meaning {
        if self.0 & Self::ENABLE == 0 {
            return Meaning::Done(u32::MAX);
        }
        Meaning::Config(PciConfigAddress {
            bus: self.0 >> 16 & 0xFF,
            device: self.0 >> 11 & 0x1F,
            function: self.0 >> 8 & 0x7,
            // Bits 27:24 extend the register number beyond the first 256 bytes (the
            // extended register, as ACRN's device model expects).
            register: (self.0 & 0xFC | self.0 >> 16 & 0xF00) + offset,
        })
    }
}
