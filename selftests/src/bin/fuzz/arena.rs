// SPDX-License-Identifier: GPL-2.0

//! Memory that threads protect, drop and move while others use it.
//!
//! This process itself never accesses it directly, which might not be permitted. System calls
//! access it, and fail then. Its addresses are never free, so that no other memory of this process
//! is mapped there.

use std::{
    fs::{File, OpenOptions},
    os::fd::{AsRawFd, OwnedFd},
};

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    physical::FIRMWARE,
};
use fastrand::Rng;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Pages of an arena.
pub const PAGES: usize = 64;
/// Bytes of an arena.
pub const LEN: usize = PAGES * PAGE;

/// Number of pages of [`FIRMWARE`].
const FIRMWARE_PAGES: usize = 16;

/// `MREMAP_DONTUNMAP`: the old addresses stay mapped without pages.
const DONTUNMAP: i32 = 4;

const PROTECTIONS: [i32; 3] = [
    libc::PROT_NONE,
    libc::PROT_READ,
    libc::PROT_READ | libc::PROT_WRITE,
];
const ADVICE: [i32; 6] = [
    libc::MADV_DONTNEED,
    libc::MADV_FREE,
    libc::MADV_HUGEPAGE,
    libc::MADV_NOHUGEPAGE,
    libc::MADV_DONTFORK,
    libc::MADV_DOFORK,
];

/// A mapping, followed by as many inaccessible addresses.
pub struct Arena {
    memory: GuestMemory,
    pages: usize,
    /// The file that is mapped where memory was dropped, or `None` for anonymous memory.
    file: Option<File>,
}

impl Arena {
    /// Creates anonymous memory of this process.
    pub fn private() -> Self {
        Self::of(GuestMemory::anonymous(2 * LEN), PAGES, None)
    }

    /// Creates memory that is shared with children.
    pub fn shared() -> Self {
        let file = memory_file(LEN);
        let memory = GuestMemory::of_file(&file, 2 * LEN).expect("memfd");
        Self::of(memory, PAGES, Some(file))
    }

    /// Maps memory without counted pages, if that is possible here.
    pub fn firmware() -> Option<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open("/dev/mem").ok()?;
        let len = 2 * FIRMWARE_PAGES * PAGE;
        let memory = GuestMemory::of_file_from(&file, FIRMWARE, len).ok()?;
        Some(Self::of(memory, FIRMWARE_PAGES, Some(file)))
    }

    fn of(memory: GuestMemory, pages: usize, file: Option<File>) -> Self {
        memory.unmap(pages * PAGE, pages * PAGE);
        Self {
            memory,
            pages,
            file,
        }
    }

    /// Returns the user address of a page.
    pub fn address(&self, page: usize) -> u64 {
        self.memory.address() + (page * PAGE) as u64
    }

    /// Returns the number of pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Returns a random page, and a number of pages from it on.
    pub fn range(&self, chance: &mut Rng) -> (usize, usize) {
        let first = chance.usize(..self.pages);
        (first, chance.usize(1..=self.pages - first))
    }

    /// Changes the mapping of random pages.
    pub fn disturb(&self, chance: &mut Rng) {
        let (first, pages) = self.range(chance);
        // The number of pages is mostly small.
        let pages = pages.min(1 << chance.u32(..6));
        let at = self.address(first) as *mut libc::c_void;
        let len = pages * PAGE;
        let protection = PROTECTIONS[chance.usize(..PROTECTIONS.len())];
        let advice = ADVICE[chance.usize(..ADVICE.len())];
        let to = self.address(chance.usize(..=self.pages - pages)) as *mut libc::c_void;
        match chance.u32(..16) {
            0..=1 => self.map(first, pages, libc::PROT_NONE),
            2..=6 => self.map(first, pages, libc::PROT_READ | libc::PROT_WRITE),
            // SAFETY: In these and in the following calls all addresses are in the mapping, to
            // which there is no reference. The kernel may refuse the calls, which is allowed.
            7..=10 => drop(unsafe { libc::mprotect(at, len, protection) }),
            // SAFETY: As above.
            11..=13 => drop(unsafe { libc::madvise(at, len, advice) }),
            _ => {
                let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | DONTUNMAP;
                // SAFETY: As above.
                unsafe { libc::mremap(at, len, len, flags, to) };
            }
        }
    }

    /// Makes all pages readable and writable, with their contents.
    pub fn allow(&self) {
        let all = self.address(0) as *mut libc::c_void;
        // SAFETY: As in `disturb`.
        unsafe { libc::mprotect(all, self.pages * PAGE, PROTECTIONS[2]) };
    }

    /// Maps pages anew. Their addresses stay mapped all the time.
    fn map(&self, first: usize, pages: usize, protection: i32) {
        let (flags, file) = match &self.file {
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        let base = match self.pages {
            FIRMWARE_PAGES => FIRMWARE,
            _ => 0,
        };
        // SAFETY: This replaces a part of the mapping, to which there is no reference.
        unsafe {
            libc::mmap(
                self.address(first) as *mut libc::c_void,
                pages * PAGE,
                protection,
                flags | libc::MAP_FIXED,
                file,
                (base + (first * PAGE) as u64) as libc::off_t,
            )
        };
    }
}

/// Creates a memfd.
pub fn memory_file(len: usize) -> File {
    let fd: OwnedFd = memfd_create(c"fuzz", MFdFlags::MFD_CLOEXEC).expect("memfd");
    let file = File::from(fd);
    file.set_len(len as u64).expect("memfd");
    file
}
