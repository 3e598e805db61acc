// SPDX-License-Identifier: GPL-2.0

//! The argument of a command: right, or nearly.

use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
};

use acrn_selftests::guest_memory::{GuestMemory, PAGE};
use fastrand::Rng;

use crate::arena::memory_file;

/// Longer than any structure.
const ROOM: usize = 320;

/// The bytes of a structure.
pub struct Structure {
    bytes: [u8; ROOM],
    len: usize,
    /// Fields that stay as they are: a number in them must not be any number.
    fixed: [bool; ROOM],
}

impl Structure {
    /// Zeros, as many as `request` says.
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

    /// Sets a field to an address of user memory, or a mask of CPUs: these stay as they are.
    pub fn fix(&mut self, offset: usize, value: u64) -> &mut Self {
        self.keep(offset, 8);
        self.put(offset, &value.to_le_bytes())
    }

    /// Leaves a field as it is.
    pub fn keep(&mut self, offset: usize, len: usize) {
        self.fixed[offset..offset + len].fill(true);
    }

    /// Now and then makes a field wrong, a reserved one for example.
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

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A number at the edge of something, or any.
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

/// `right`, or nearly.
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

/// Where the arguments of one thread lie: a page that can be written to, one that can be read, and one that
/// cannot.
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

    /// Puts a structure somewhere. What comes back is its address, or something that is none.
    pub fn put(&self, chance: &mut Rng, bytes: &[u8]) -> u64 {
        let offset = chance.usize(..PAGE / 2) & !7;
        let back = chance.usize(..=bytes.len());
        let page = self.memory.address();
        let kind = chance.u32(..64);
        let offset = match kind {
            // Unaligned.
            0 => offset + 1,
            // Its end is read-only.
            1 => PAGE - back,
            // All of it is.
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

    /// A word of what the kernel wrote to an argument, if that was at such an address.
    pub fn word(&self, address: u64) -> Option<u32> {
        let offset = address.checked_sub(self.memory.address())? as usize;
        let fits = offset + 4 <= PAGE && offset.is_multiple_of(4);
        fits.then(|| self.memory.read::<u32>(offset))
    }

    /// Writes to memory that we may not be allowed to write to.
    pub fn poke(&self, address: u64, bytes: &[u8]) {
        if self.scratch.write_all_at(bytes, 0).is_err() {
            return;
        }
        // SAFETY: callers name memory of an arena, of which nobody has a reference. The kernel writes there, or
        // fails.
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
        // SAFETY: a page of ours, of which nobody has a reference.
        unsafe { libc::mprotect(second, PAGE, protection) };
    }
}
