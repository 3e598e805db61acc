// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The I/O request of a vCPU.

use std::fmt;

use acrn_uapi::{
    ACRN_IOREQ_DIR_READ, ACRN_IOREQ_DIR_WRITE, ACRN_IOREQ_TYPE_MMIO, ACRN_IOREQ_TYPE_PCICFG,
    ACRN_IOREQ_TYPE_PORTIO,
};

/// The direction of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The vCPU reads, and waits for a value.
    Read,
    /// The vCPU writes a value.
    Write,
}

/// The width of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Width {
    /// 1 byte.
    One = 1,
    /// 2 bytes.
    Two = 2,
    /// 4 bytes.
    Four = 4,
    /// 8 bytes; only for [`Target::Memory`].
    Eight = 8,
}

impl Width {
    /// Returns the width of so many bytes, or `None` if there is none.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        match bytes {
            1 => Some(Width::One),
            2 => Some(Width::Two),
            4 => Some(Width::Four),
            8 => Some(Width::Eight),
            _ => None,
        }
    }

    /// Returns the width in bytes.
    pub fn bytes(self) -> u64 {
        self as u64
    }

    /// Returns all ones in this width: the value of a read without a device.
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// The target of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// An I/O port.
    Port(u16),
    /// A guest-physical address.
    Memory(u64),
    /// PCI configuration space. The numbers are those of the slot, unchecked: the guest chooses
    /// them.
    PciConfig {
        /// Bus number.
        bus: u32,
        /// Device number.
        device: u32,
        /// Function number.
        function: u32,
        /// Number of the first byte accessed.
        register: u32,
    },
}

/// An access that the Service VM must complete: a copy of a vCPU's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Its target.
    pub target: Target,
    /// Its direction.
    pub direction: Direction,
    /// Its width.
    pub width: Width,
    /// The value written, without bits above the width. For a read it has no meaning.
    pub value: u64,
}

/// The contents of a slot with an unknown type or direction, or an impossible width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MalformedRequest {
    /// `acrn_io_request.type`.
    pub kind: u32,
    /// `.direction`.
    pub direction: u32,
    /// `.size`.
    pub size: u64,
    /// `.address`.
    pub address: u64,
}

impl fmt::Display for MalformedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MalformedRequest {
            kind,
            direction,
            size,
            address,
        } = self;
        write!(
            f,
            "malformed I/O request: type {kind}, direction {direction}, \
             {size} bytes at {address:#x}"
        )
    }
}

impl std::error::Error for MalformedRequest {}

/// The bytes of a slot that describe the access, read once.
pub(crate) struct RawRequest {
    pub kind: u32,
    pub direction: u32,
    /// `acrn_pio_request.address`, `acrn_mmio_request.address`.
    pub address: u64,
    /// At the same offset in all three types.
    pub size: u64,
    /// The 8 bytes at the offset of the value, which is the same in all three types.
    pub value: u64,
    /// `dev`, `func` and `reg` of `acrn_pci_request`. `bus` is the upper half of `value`.
    pub device: u32,
    pub function: u32,
    pub register: u32,
}

impl TryFrom<RawRequest> for Request {
    type Error = MalformedRequest;

    fn try_from(raw: RawRequest) -> Result<Self, MalformedRequest> {
        let RawRequest {
            kind,
            direction,
            address,
            size,
            value,
            ..
        } = raw;
        let malformed = MalformedRequest {
            kind,
            direction,
            size,
            address,
        };
        let direction = match direction {
            ACRN_IOREQ_DIR_READ => Direction::Read,
            ACRN_IOREQ_DIR_WRITE => Direction::Write,
            _ => return Err(malformed),
        };
        let width = Width::from_bytes(size).ok_or(malformed)?;
        let target = match kind {
            ACRN_IOREQ_TYPE_PORTIO => Target::Port(u16::try_from(address).map_err(|_| malformed)?),
            ACRN_IOREQ_TYPE_MMIO => Target::Memory(address),
            ACRN_IOREQ_TYPE_PCICFG => Target::PciConfig {
                bus: (value >> 32) as u32,
                device: raw.device,
                function: raw.function,
                register: raw.register,
            },
            _ => return Err(malformed),
        };
        if width == Width::Eight && !matches!(target, Target::Memory(_)) {
            return Err(malformed);
        }
        Ok(Request {
            target,
            direction,
            width,
            value: value & width.mask(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(kind: u32, size: u64) -> RawRequest {
        RawRequest {
            kind,
            direction: ACRN_IOREQ_DIR_WRITE,
            address: 0x3f8,
            size,
            value: 0x5_1122_3344,
            device: 31,
            function: 7,
            register: 0x40,
        }
    }

    #[test]
    fn value_is_cut_to_the_width() {
        let request = Request::try_from(raw(ACRN_IOREQ_TYPE_PORTIO, 1)).unwrap();
        assert_eq!(request.target, Target::Port(0x3f8));
        assert_eq!(request.value, 0x44);
        let request = Request::try_from(raw(ACRN_IOREQ_TYPE_MMIO, 8)).unwrap();
        assert_eq!(request.value, 0x5_1122_3344);
    }

    #[test]
    fn pci_bus_lies_behind_the_value() {
        let request = Request::try_from(raw(ACRN_IOREQ_TYPE_PCICFG, 4)).unwrap();
        let target = Target::PciConfig {
            bus: 5,
            device: 31,
            function: 7,
            register: 0x40,
        };
        assert_eq!(request.target, target);
        assert_eq!(request.value, 0x1122_3344);
    }

    #[test]
    fn impossible_requests_are_refused() {
        for size in [0, 3, 5, 16, u64::MAX] {
            assert!(Request::try_from(raw(ACRN_IOREQ_TYPE_MMIO, size)).is_err());
        }
        assert!(Request::try_from(raw(ACRN_IOREQ_TYPE_PORTIO, 8)).is_err());
        assert!(Request::try_from(raw(3, 4)).is_err());
        assert!(
            Request::try_from(RawRequest {
                direction: 2,
                ..raw(0, 1)
            })
            .is_err()
        );
        assert!(
            Request::try_from(RawRequest {
                address: 0x1_0000,
                ..raw(0, 1)
            })
            .is_err()
        );
    }

    #[test]
    fn masks() {
        assert_eq!(Width::One.mask(), 0xff);
        assert_eq!(Width::Four.mask(), 0xffff_ffff);
        assert_eq!(Width::Eight.mask(), u64::MAX);
    }
}
