// SPDX-License-Identifier: GPL-2.0

//! Accesses of a guest to ports and memory.

/// The direction of an access.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The guest reads.
    Read,
    /// The guest writes this value.
    Write(u64),
}

/// The address space of an access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    /// I/O ports.
    Port,
    /// Guest-physical memory.
    Memory,
}

/// An access of a guest to a port or to memory, copied from a slot.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) direction: Direction,
    pub(crate) address: u64,
    /// 1 to 8 bytes.
    pub(crate) size: u64,
}

/// An address in PCI configuration space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PciConfigAddress {
    pub(crate) bus: u32,
    pub(crate) device: u32,
    pub(crate) function: u32,
    pub(crate) register: u32,
}
