// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Guest RAM: its layout and the shared memory behind it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use acrn_ioctls::{MemoryAttributes, Vm};

use crate::error::{Context, Result};

pub const HUGE_PAGE: u64 = 2 << 20;

/// The end of low RAM. PCI, the IOAPIC and the local APICs follow, up to 4 GiB.
pub const LOW_END: u64 = 3 << 30;

/// The address of the RAM that does not fit below [`LOW_END`].
pub const HIGH_START: u64 = 4 << 30;

/// A range of guest-physical addresses with RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub len: u64,
}

/// Returns the ranges of `size` bytes of RAM, lowest first.
pub fn layout(size: u64) -> Vec<Range> {
    let low = Range {
        start: 0,
        len: size.min(LOW_END),
    };
    let high = Range {
        start: HIGH_START,
        len: size - low.len,
    };
    [low, high]
        .into_iter()
        .filter(|range| range.len != 0)
        .collect()
}

fn create_memfd(size: u64, hugepages: bool) -> io::Result<File> {
    let huge = if hugepages {
        libc::MFD_HUGETLB | libc::MFD_HUGE_2MB
    } else {
        0
    };
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"acrn-vmm".as_ptr(), libc::MFD_CLOEXEC | huge) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor without another owner.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.set_len(size)?;
    Ok(file)
}

/// Allocates all memory now. The driver pins it later, and a missing page would then cause SIGBUS.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    // The command line does not accept a larger size.
    let size =
        libc::off_t::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    // SAFETY: the descriptor is open, and the call does not access memory of this process.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, size) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Allocates shared memory for `size` bytes of RAM, at the addresses of [`layout`].
pub fn create(size: u64, hugepages: bool) -> Result<GuestMemoryMmap> {
    let pages = if hugepages {
        "2 MiB huge pages (/proc/sys/vm/nr_hugepages)"
    } else {
        "pages"
    };
    let doing = || format!("allocating {} MiB of guest memory in {pages}", size >> 20);
    let file = create_memfd(size, hugepages).context(doing)?;
    allocate(&file, size).context(doing)?;
    let mut offset = 0;
    let mut ranges = Vec::new();
    for Range { start, len } in layout(size) {
        let part = FileOffset::new(file.try_clone().context(doing)?, offset);
        ranges.push((GuestAddress(start), len as usize, Some(part)));
        offset += len;
    }
    GuestMemoryMmap::from_ranges_with_files(ranges).context(doing)
}

/// Maps the memory into the VM.
pub fn map(vm: &Vm, memory: &GuestMemoryMmap) -> Result<()> {
    for region in memory.iter() {
        let (start, len) = (region.start_addr().0, region.len());
        let host = region.as_ptr() as u64;
        // SAFETY: there are no references to this memory: vm-memory accesses it as memory that
        // others change.
        unsafe { vm.set_memory(start, host, len, MemoryAttributes::RAM) }
            .context(|| format!("giving the VM {} MiB of memory at {start:#x}", len >> 20))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::Bytes;

    #[test]
    fn small_memory_is_one_range() {
        assert_eq!(
            layout(256 << 20),
            [Range {
                start: 0,
                len: 256 << 20
            }]
        );
        assert_eq!(
            layout(LOW_END),
            [Range {
                start: 0,
                len: LOW_END
            }]
        );
    }

    #[test]
    fn large_memory_leaves_the_hole() {
        let high = Range {
            start: HIGH_START,
            len: HUGE_PAGE,
        };
        assert_eq!(
            layout(LOW_END + HUGE_PAGE),
            [
                Range {
                    start: 0,
                    len: LOW_END
                },
                high
            ]
        );
    }

    #[test]
    fn memory_is_there_and_writable() {
        let memory = create(HUGE_PAGE, false).unwrap();
        memory
            .write_obj(0x55u8, GuestAddress(HUGE_PAGE - 1))
            .unwrap();
        assert!(memory.write_obj(0u8, GuestAddress(HUGE_PAGE)).is_err());
    }
}
