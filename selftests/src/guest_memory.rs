// SPDX-License-Identifier: GPL-2.0

//! Memory of every kind that a device model may give to a guest.
//!
//! The guest, the driver and the hypervisor write to it unseen, so it is only accessed by volatile reads and
//! writes, never as a Rust reference.

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

/// A page.
pub const PAGE: usize = 4096;
/// A huge page.
pub const HUGE_PAGE: usize = 2 << 20;

/// A mapping.
///
/// # Invariants
///
/// `len` bytes at `base` are a mapping that belongs to this.
pub struct GuestMemory {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for GuestMemory {}
// SAFETY: all access is by volatile reads and writes of plain bytes, which others outside of this process
// make at any time as well.
unsafe impl Sync for GuestMemory {}

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

fn length(len: usize) -> NonZeroUsize {
    NonZeroUsize::new(len).expect("an empty mapping")
}

impl GuestMemory {
    /// Private anonymous memory in small pages.
    pub fn anonymous(len: usize) -> Self {
        // SAFETY: a new mapping where the kernel wants it.
        let base = unsafe { mmap_anonymous(None, length(len), READ_WRITE, MapFlags::MAP_PRIVATE) };
        // INVARIANT: just mapped.
        let memory = Self {
            base: base.expect("mmap"),
            len,
        };
        memory.advise(MmapAdvise::MADV_NOHUGEPAGE);
        memory
    }

    /// Private anonymous memory below 4 GiB, where 32-bit programs have theirs.
    pub fn low(len: usize) -> Self {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_32BIT;
        // SAFETY: a new mapping where the kernel wants it.
        let base = unsafe { mmap_anonymous(None, length(len), READ_WRITE, flags) };
        // INVARIANT: just mapped.
        Self {
            base: base.expect("mmap"),
            len,
        }
    }

    /// A shared mapping of a file.
    pub fn of_file(file: impl AsFd, len: usize) -> Result<Self, String> {
        Self::of_file_from(file, 0, len)
    }

    /// A shared mapping of a file from `offset` on.
    pub fn of_file_from(file: impl AsFd, offset: u64, len: usize) -> Result<Self, String> {
        Self::of(file, offset, len, READ_WRITE, MapFlags::MAP_SHARED)
    }

    /// A shared mapping of a file that may only be read.
    pub fn of_file_read_only(file: impl AsFd, len: usize) -> Result<Self, String> {
        Self::of(file, 0, len, ProtFlags::PROT_READ, MapFlags::MAP_SHARED)
    }

    /// A private mapping of a file: what is written there does not come to the file.
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
        // SAFETY: a new mapping where the kernel wants it.
        let base = unsafe { mmap(None, length(len), protection, flags, file, offset) };
        // INVARIANT: just mapped.
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
        // SAFETY: replaces a part of our mapping, to which nobody holds a reference.
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

    /// A shared mapping of a memfd.
    pub fn shared(len: usize) -> Self {
        Self::of_file(small_file(len).expect("memfd"), len).expect("memfd")
    }

    /// Huge pages of 2 MiB from hugetlbfs; the error says why a test has to be skipped.
    pub fn huge(len: usize) -> Result<Self, String> {
        Self::of_file(huge_file(len)?, len).map_err(|error| format!("no huge pages: {error}"))
    }

    /// 2 MiB of hugetlbfs between small pages; the error says why a test has to be skipped.
    pub fn with_hugetlb_in_the_middle() -> Result<Self, String> {
        let memory = Self::anonymous(4 * HUGE_PAGE);
        let offset = memory.address().next_multiple_of(HUGE_PAGE as u64) - memory.address();
        // Some small pages before the huge one, and some behind it.
        let memory = memory.cut(offset as usize + HUGE_PAGE / 2, 2 * HUGE_PAGE);
        let file = huge_file(HUGE_PAGE)?;
        memory
            .map_over(HUGE_PAGE / 2, file, 0, HUGE_PAGE)
            .map_err(|error| format!("no huge pages: {error}"))?;
        Ok(memory)
    }

    /// Private memory in transparent huge pages; the error says why a test has to be skipped.
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

    /// `len` bytes from `offset`; the rest is unmapped.
    pub fn cut(self, offset: usize, len: usize) -> Self {
        assert!(
            offset + len <= self.len && offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE)
        );
        // SAFETY: both are inside the mapping, or at its end.
        let (base, end) = unsafe { (self.base.byte_add(offset), self.base.byte_add(offset + len)) };
        for (part, len) in [(self.base, offset), (end, self.len - offset - len)] {
            if len > 0 {
                // SAFETY: a part of our mapping that is not used any more.
                unsafe { munmap(part, len) }.expect("munmap");
            }
        }
        std::mem::forget(self);
        // INVARIANT: what is left of the mapping.
        Self { base, len }
    }

    /// Takes a part out of the mapping: no access to it is allowed any more.
    pub fn unmap(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        // SAFETY: replaces a part of our mapping, to which nobody holds a reference.
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

    /// Moves the page at `from` of another mapping to `to` in this one; there is a hole where it was.
    pub fn move_page(&self, to: usize, source: &GuestMemory, from: usize) {
        assert!(to + PAGE <= self.len && from + PAGE <= source.len);
        // SAFETY: both pages are in mappings of ours, to which nobody holds a reference.
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

    /// `madvise` on all of it. What the kernel does not know is not done.
    pub fn advise(&self, advice: MmapAdvise) {
        // SAFETY: of the pieces of advice, those that drop contents do it to plain bytes.
        let _ = unsafe { madvise(self.base, self.len, advice) };
    }

    /// Makes it read-only.
    pub fn protect(&self) {
        self.protect_part(0, self.len);
    }

    /// Makes a part of it read-only.
    pub fn protect_part(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        // SAFETY: a part of our mapping, to which nobody holds a reference.
        unsafe { mprotect(self.base.byte_add(offset), len, ProtFlags::PROT_READ) }
            .expect("mprotect");
    }

    /// User address of the first byte.
    pub fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// Physical address of the first byte, by /proc/self/pagemap. The error says why the test has to be skipped.
    pub fn physical_address(&self) -> Result<u64, String> {
        self.physical_address_at(0)
    }

    /// The same of the byte at `offset`, the first one of a page.
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

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a mapping has pages.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= self.len && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: by the check it is inside the mapping.
        unsafe { self.base.byte_add(offset) }.as_ptr().cast()
    }

    /// Reads a number.
    pub fn read<T: Number>(&self, offset: usize) -> T {
        // SAFETY: `at` checks place and alignment; any bytes are a `Number`.
        unsafe { ptr::read_volatile(self.at::<T>(offset)) }
    }

    /// Writes a number.
    pub fn write<T: Number>(&self, offset: usize, value: T) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(self.at::<T>(offset), value) }
    }

    /// Writes bytes.
    pub fn write_bytes(&self, offset: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            self.write::<u8>(offset + index, *byte);
        }
    }

    /// Writes the number of each page, and `salt`, at its beginning.
    pub fn number_pages(&self, salt: u64) {
        for page in 0..self.len / PAGE {
            self.write::<u64>(page * PAGE, salt + page as u64);
        }
    }

    /// How much of it is in transparent huge pages, by /proc/self/smaps.
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
        // SAFETY: our mapping, to which nobody holds a reference. Parts of it may be gone: that is fine.
        let _ = unsafe { munmap(self.base, self.len) };
    }
}

/// Plain numbers.
pub trait Number: sealed::Sealed + Copy {}
impl Number for u8 {}
impl Number for u32 {}
impl Number for u64 {}

mod sealed {
    /// Types of which any bytes are a value.
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A memfd in small pages, which can be sealed.
pub fn small_file(len: usize) -> Result<File, String> {
    memory_file(len, MFdFlags::empty())
}

/// A memfd in huge pages of 2 MiB, which can be sealed; the error says why a test has to be skipped.
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
