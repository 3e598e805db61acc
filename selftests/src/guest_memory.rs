// SPDX-License-Identifier: GPL-2.0

//! Memory of every kind that a device model may give to a guest.
//!
//! The guest, the driver and the hypervisor write to it without Rust's knowledge. So it is only
//! accessed by volatile reads and writes, never through a Rust reference.

use std::{
    ffi::c_void,
    fs,
    fs::File,
    num::NonZeroUsize,
    os::{fd::AsFd, unix::fs::FileExt},
    ptr::{self, NonNull},
};

use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    mman::{
        MRemapFlags, MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mprotect,
        mremap, munmap,
    },
};

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes of a huge page.
pub const HUGE_PAGE: usize = 2 << 20;

/// A mapping in this process.
///
/// # Invariants
///
/// `len` bytes at `base` are a mapping that this value owns.
pub struct GuestMemory {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: The mapping belongs to the process, not to a thread.
unsafe impl Send for GuestMemory {}
// SAFETY: All access is by volatile reads and writes of plain bytes. Code outside of this process
// accesses them concurrently in any case.
unsafe impl Sync for GuestMemory {}

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

fn length(len: usize) -> NonZeroUsize {
    NonZeroUsize::new(len).expect("an empty mapping")
}

impl GuestMemory {
    /// Maps private anonymous memory in small pages.
    pub fn anonymous(len: usize) -> Self {
        // SAFETY: This is a new mapping at an address that the kernel chooses.
        let base = unsafe { mmap_anonymous(None, length(len), READ_WRITE, MapFlags::MAP_PRIVATE) };
        // INVARIANT: The memory was just mapped.
        let memory = Self {
            base: base.expect("mmap"),
            len,
        };
        memory.advise(MmapAdvise::MADV_NOHUGEPAGE);
        memory
    }

    /// Maps private anonymous memory below 4 GiB, where 32-bit programs have theirs.
    pub fn low(len: usize) -> Self {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_32BIT;
        // SAFETY: This is a new mapping at an address that the kernel chooses.
        let base = unsafe { mmap_anonymous(None, length(len), READ_WRITE, flags) };
        // INVARIANT: The memory was just mapped.
        Self {
            base: base.expect("mmap"),
            len,
        }
    }

    /// Maps a file, shared.
    pub fn of_file(file: impl AsFd, len: usize) -> Result<Self, String> {
        Self::of_file_from(file, 0, len)
    }

    /// Maps a file from `offset` on, shared.
    pub fn of_file_from(file: impl AsFd, offset: u64, len: usize) -> Result<Self, String> {
        Self::of(file, offset, len, READ_WRITE, MapFlags::MAP_SHARED)
    }

    /// Maps a file that may only be read, shared.
    pub fn of_file_read_only(file: impl AsFd, len: usize) -> Result<Self, String> {
        Self::of(file, 0, len, ProtFlags::PROT_READ, MapFlags::MAP_SHARED)
    }

    /// Maps a file, private: the file does not change when the memory is written.
    pub fn private_of_file(file: impl AsFd, len: usize) -> Result<Self, String> {
        Self::of(file, 0, len, READ_WRITE, MapFlags::MAP_PRIVATE)
    }

    fn of(
        file: impl AsFd,
        offset: u64,
        len: usize,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self, String> {
        let offset = offset.try_into().map_err(|_| "mmap: no such offset")?;
        // SAFETY: This is a new mapping at an address that the kernel chooses.
        let base = unsafe { mmap(None, length(len), protection, flags, file, offset) };
        // INVARIANT: The memory was just mapped.
        base.map(|base| Self { base, len })
            .map_err(|error| format!("mmap: {error}"))
    }

    /// Maps `len` bytes of a file from `offset` on, shared, over the bytes at `at`.
    pub fn map_over(
        &self,
        at: usize,
        file: impl AsFd,
        offset: u64,
        len: usize,
    ) -> Result<(), String> {
        assert!(at + len <= self.len);
        let offset = offset.try_into().map_err(|_| "mmap: no such offset")?;
        // SAFETY: This replaces a part of the owned mapping, to which there is no reference.
        let base = unsafe {
            mmap(
                Some(length(self.address() as usize + at)),
                length(len),
                READ_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_FIXED,
                file,
                offset,
            )
        };
        base.map(drop).map_err(|error| format!("mmap: {error}"))
    }

    /// Maps a new memfd, shared.
    pub fn shared(len: usize) -> Self {
        Self::of_file(small_file(len).expect("memfd"), len).expect("memfd")
    }

    /// Maps huge pages of 2 MiB of hugetlbfs. The error says why the test must be skipped.
    pub fn huge(len: usize) -> Result<Self, String> {
        Self::of_file(huge_file(len)?, len).map_err(|error| format!("no huge pages: {error}"))
    }

    /// Maps 2 MiB of hugetlbfs between small pages. The error says why the test must be skipped.
    pub fn with_hugetlb_in_the_middle() -> Result<Self, String> {
        let memory = Self::anonymous(4 * HUGE_PAGE);
        let offset = memory.address().next_multiple_of(HUGE_PAGE as u64) - memory.address();
        // There are small pages before the huge page, and after it.
        let memory = memory.cut(offset as usize + HUGE_PAGE / 2, 2 * HUGE_PAGE);
        let file = huge_file(HUGE_PAGE)?;
        memory
            .map_over(HUGE_PAGE / 2, file, 0, HUGE_PAGE)
            .map_err(|error| format!("no huge pages: {error}"))?;
        Ok(memory)
    }

    /// Maps private memory in transparent huge pages. The error says why the test must be skipped.
    pub fn transparent_huge(len: usize) -> Result<Self, String> {
        let memory = Self::anonymous(len + HUGE_PAGE);
        let offset = memory.address().next_multiple_of(HUGE_PAGE as u64) - memory.address();
        let memory = memory.cut(offset as usize, len);
        memory.advise(MmapAdvise::MADV_HUGEPAGE);
        for offset in (0..len).step_by(PAGE) {
            memory.write::<u64>(offset, 0);
        }
        let backed = memory.huge_kilobytes() << 10;
        if backed != len {
            return Err(format!(
                "{backed} of {len} bytes are in transparent huge pages"
            ));
        }
        Ok(memory)
    }

    /// Reduces the mapping to `len` bytes from `offset`. The rest is unmapped.
    pub fn cut(self, offset: usize, len: usize) -> Self {
        assert!(
            offset + len <= self.len && offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE)
        );
        // SAFETY: Both addresses are inside the mapping, or at its end.
        let (base, end) = unsafe { (self.base.byte_add(offset), self.base.byte_add(offset + len)) };
        for (part, len) in [(self.base, offset), (end, self.len - offset - len)] {
            if len > 0 {
                // SAFETY: This part of the owned mapping is not used any more.
                unsafe { munmap(part, len) }.expect("munmap");
            }
        }
        std::mem::forget(self);
        // INVARIANT: This is the rest of the owned mapping.
        Self { base, len }
    }

    /// Makes a part of the mapping inaccessible.
    pub fn unmap(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        // SAFETY: This replaces a part of the owned mapping, to which there is no reference.
        let hole = unsafe {
            mmap_anonymous(
                Some(length(self.address() as usize + offset)),
                length(len),
                ProtFlags::PROT_NONE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED,
            )
        };
        hole.expect("mmap");
    }

    /// Moves the page at `from` of another mapping to `to` in this one. A hole remains in the other
    /// mapping.
    pub fn move_page(&self, to: usize, source: &GuestMemory, from: usize) {
        assert!(to + PAGE <= self.len && from + PAGE <= source.len);
        // SAFETY: Both pages are in owned mappings, to which there is no reference.
        let moved = unsafe {
            mremap(
                source.base.byte_add(from),
                PAGE,
                PAGE,
                MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED,
                Some(self.base.byte_add(to)),
            )
        };
        moved.expect("mremap");
        source.unmap(from, PAGE);
    }

    /// Calls `madvise` for all of the mapping. Advice that the kernel does not support is ignored.
    pub fn advise(&self, advice: MmapAdvise) {
        // SAFETY: Advice that discards contents only discards plain bytes.
        let _ = unsafe { madvise(self.base, self.len, advice) };
    }

    /// Makes the mapping read-only.
    pub fn protect(&self) {
        self.protect_part(0, self.len);
    }

    /// Makes a part of the mapping read-only.
    pub fn protect_part(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        // SAFETY: This is a part of the owned mapping, to which there is no reference.
        unsafe { mprotect(self.base.byte_add(offset), len, ProtFlags::PROT_READ) }
            .expect("mprotect");
    }

    /// User address of the first byte.
    pub fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// Returns the physical address of the first byte, from /proc/self/pagemap. The error says why
    /// the test must be skipped.
    pub fn physical_address(&self) -> Result<u64, String> {
        self.physical_address_at(0)
    }

    /// Returns the physical address of the byte at `offset`, the first one of a page. The error
    /// says why the test must be skipped.
    pub fn physical_address_at(&self, offset: usize) -> Result<u64, String> {
        const PRESENT: u64 = 1 << 63;
        const FRAME: u64 = (1 << 55) - 1;
        let mut entry = [0; 8];
        File::open("/proc/self/pagemap")
            .and_then(|map| {
                let page = (self.address() + offset as u64) / PAGE as u64;
                map.read_exact_at(&mut entry, page * 8)
            })
            .map_err(|error| format!("/proc/self/pagemap: {error}"))?;
        let entry = u64::from_le_bytes(entry);
        if entry & PRESENT == 0 || entry & FRAME == 0 {
            return Err("/proc/self/pagemap shows no frames".to_owned());
        }
        Ok((entry & FRAME) * PAGE as u64)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the mapping has no bytes, which never happens.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= self.len && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: The check above guarantees that it is inside the mapping.
        unsafe { self.base.byte_add(offset) }.as_ptr().cast()
    }

    /// Reads a number.
    pub fn read<T: Number>(&self, offset: usize) -> T {
        // SAFETY: `at` checks range and alignment, and any bytes are a valid `Number`.
        unsafe { ptr::read_volatile(self.at::<T>(offset)) }
    }

    /// Writes a number.
    pub fn write<T: Number>(&self, offset: usize, value: T) {
        // SAFETY: `at` checks range and alignment.
        unsafe { ptr::write_volatile(self.at::<T>(offset), value) }
    }

    /// Writes bytes.
    pub fn write_bytes(&self, offset: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            self.write::<u8>(offset + index, *byte);
        }
    }

    /// Writes `salt` plus the number of the page to the beginning of each page.
    pub fn number_pages(&self, salt: u64) {
        for page in 0..self.len / PAGE {
            self.write::<u64>(page * PAGE, salt + page as u64);
        }
    }

    /// Returns how many KiB of the mapping are in transparent huge pages, from /proc/self/smaps.
    fn huge_kilobytes(&self) -> usize {
        let text = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let head = format!("{:x}-", self.address());
        text.lines()
            .skip_while(|line| !line.starts_with(&head))
            .find_map(|line| {
                line.strip_prefix("AnonHugePages:")?
                    .split_ascii_whitespace()
                    .next()
            })
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // SAFETY: This unmaps the owned mapping, to which there is no reference. Parts of it may be
        // unmapped already, which is allowed.
        let _ = unsafe { munmap(self.base, self.len) };
    }
}

/// Plain numbers.
pub trait Number: sealed::Sealed + Copy {}
impl Number for u8 {}
impl Number for u32 {}
impl Number for u64 {}

mod sealed {
    /// Types for which any bytes are a valid value.
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// Creates a memfd in small pages, which can be sealed.
pub fn small_file(len: usize) -> Result<File, String> {
    memory_file(len, MFdFlags::empty())
}

/// Creates a memfd in huge pages of 2 MiB, which can be sealed. The error says why the test must be
/// skipped.
pub fn huge_file(len: usize) -> Result<File, String> {
    memory_file(len, MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB)
}

fn memory_file(len: usize, flags: MFdFlags) -> Result<File, String> {
    let flags = flags | MFdFlags::MFD_ALLOW_SEALING;
    let fd = memfd_create(c"selftest", flags).map_err(|error| format!("memfd: {error}"))?;
    let file = File::from(fd);
    file.set_len(len as u64)
        .map_err(|error| format!("memfd: {error}"))?;
    Ok(file)
}
