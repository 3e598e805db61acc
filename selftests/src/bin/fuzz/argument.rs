// SPDX-License-Identifier: GPL-2.0

//! Valid and nearly valid arguments of commands.

use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
};

use acrn_selftests::guest_memory::{GuestMemory, PAGE};
use fastrand::Rng;

use crate::arena::memory_file;

/// More bytes than any structure has.
const ROOM: usize = 320;

/// The bytes of a structure.
pub struct Structure {
    bytes: [u8; ROOM],
    len: usize,
    /// Fields that are never spoilt, because they must not contain arbitrary numbers.
    fixed: [bool; ROOM],
}

impl Structure {
    /// Creates zeros of the size that `request` says.
    pub fn new(request: u32) -> Self {
        Self {
            bytes: [0; ROOM],
            len: (request >> 16 & 0x3fff) as usize,
            fixed: [false; ROOM],
        }
    }

    /// Sets a field.
    pub fn put(&mut self, offset: usize, value: &[u8]) -> &mut Self {
        self.bytes[offset..offset + value.len()].copy_from_slice(value);
        self
    }

    /// Sets a field to an address of user memory, or a mask of CPUs. These are never spoilt.
    pub fn fix(&mut self, offset: usize, value: u64) -> &mut Self {
        self.keep(offset, 8);
        self.put(offset, &value.to_le_bytes())
    }

    /// Prevents a field from being spoilt.
    pub fn keep(&mut self, offset: usize, len: usize) {
        self.fixed[offset..offset + len].fill(true);
    }

    /// Occasionally overwrites a part of a random field, for example a reserved one.
    pub fn spoil(&mut self, chance: &mut Rng) {
        let spoils = chance.u32(..8) == 0 && self.len > 0;
        let offset = chance.usize(..self.len.max(1)) & !1;
        let value = edge(chance);
        if spoils {
            for (index, byte) in value.to_le_bytes()[..2].iter().enumerate() {
                if !self.fixed[offset + index] {
                    self.bytes[offset + index] = *byte;
                }
            }
        }
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Returns a boundary value, or any number.
pub fn edge(chance: &mut Rng) -> u64 {
    let any = chance.u64(..);
    let bit = 1u64 << chance.u32(..64);
    match chance.u32(..6) {
        0 => 0,
        1 => u64::MAX,
        2 => bit,
        3 => bit - 1,
        4 => any & 0xff,
        _ => any,
    }
}

/// Returns `right`, or occasionally a number near it or a boundary value.
pub fn near(chance: &mut Rng, right: u64) -> u64 {
    let edge = edge(chance);
    match chance.u32(..32) {
        0 => right.wrapping_add(1),
        1 => right.wrapping_sub(1),
        2 => right ^ 1 << chance.u32(..64),
        3 => edge,
        _ => right,
    }
}

/// Memory for the arguments of one thread: a writable page, a readable one, and an inaccessible
/// one.
pub struct Place {
    memory: GuestMemory,
    scratch: File,
}

impl Place {
    pub fn new() -> Self {
        let memory = GuestMemory::anonymous(3 * PAGE);
        memory.unmap(2 * PAGE, PAGE);
        let place = Self {
            memory,
            scratch: memory_file(PAGE),
        };
        place.protect_second(libc::PROT_READ);
        place
    }

    /// Stores a structure at a random offset. Returns its address, or occasionally an invalid one.
    pub fn put(&self, chance: &mut Rng, bytes: &[u8]) -> u64 {
        let offset = chance.usize(..PAGE / 2) & !7;
        let back = chance.usize(..=bytes.len());
        let page = self.memory.address();
        let kind = chance.u32(..64);
        let offset = match kind {
            // An unaligned address.
            0 => offset + 1,
            // The end of the structure is read-only.
            1 => PAGE - back,
            // All of the structure is read-only.
            2 => PAGE,
            _ => offset,
        };
        if offset + bytes.len() > PAGE {
            self.protect_second(libc::PROT_READ | libc::PROT_WRITE);
        }
        self.memory.write_bytes(offset, bytes);
        if offset + bytes.len() > PAGE {
            self.protect_second(libc::PROT_READ);
        }
        match kind {
            3 => page + (2 * PAGE - back) as u64,
            4 => page + 2 * PAGE as u64,
            5 => 0,
            6 => 0xffff_8880_0000_1000,
            7 => 0x8000_0000_0000_0000,
            _ => page + offset as u64,
        }
    }

    /// Returns a word that the kernel wrote to an argument, if `address` is a valid address of one.
    pub fn word(&self, address: u64) -> Option<u32> {
        let offset = address.checked_sub(self.memory.address())? as usize;
        let fits = offset + 4 <= PAGE && offset.is_multiple_of(4);
        fits.then(|| self.memory.read::<u32>(offset))
    }

    /// Writes to memory that may not be writable.
    pub fn poke(&self, address: u64, bytes: &[u8]) {
        if self.scratch.write_all_at(bytes, 0).is_err() {
            return;
        }
        // SAFETY: The caller passes an address in an arena, to which there is no reference. The
        // kernel writes there, or fails.
        unsafe {
            libc::pread(
                self.scratch.as_raw_fd(),
                address as *mut libc::c_void,
                bytes.len(),
                0,
            )
        };
    }

    fn protect_second(&self, protection: i32) {
        let second = (self.memory.address() + PAGE as u64) as *mut libc::c_void;
        // SAFETY: This is a page of our mapping, to which there is no reference.
        unsafe { libc::mprotect(second, PAGE, protection) };
    }
}
