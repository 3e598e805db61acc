// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Physical memory that is not mini-ACRN's: what it may read and write on a guest's behalf.
//!
//! The Service VM's addresses are physical addresses, so a parameter's GPA is checked here and then used.

use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::ops::Range;
use mini_acrn_logic::{acpi::PhysRead, e820, walk::GuestRead};
use spin::Once;
use zerocopy::{FromBytes, Immutable, IntoBytes};

// SAFETY: symbols of the linker script or of assembly; only used as declared here.
unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
}

/// The Service VM's view of physical memory.
pub struct Space {
    /// Its memory map: mini-ACRN's memory is reserved in it.
    pub map: Vec<e820::Entry>,
    /// First address above all that it reaches: RAM, and devices below 4 GiB.
    pub top: u64,
}

static SPACE: Once<Space> = Once::new();

/// mini-ACRN's own memory.
pub fn image() -> Range<u64> {
    (&raw const image_start as u64)..(&raw const image_end as u64)
}

/// Takes the memory map. Called once.
pub fn init(map: &[e820::Entry]) -> &'static Space {
    SPACE.call_once(|| {
        let map = e820::reserve(map, image());
        let top = e820::top_of_ram(&map).next_multiple_of(1 << 30).max(1 << 32);
        Space { map, top }
    })
}

/// The Service VM's view.
pub fn space() -> &'static Space {
    SPACE.get().expect("memory map is known")
}

fn range(addr: u64, len: u64) -> Option<Range<u64>> {
    Some(addr..addr.checked_add(len)?)
}

/// Whether all `len` bytes at `addr` are RAM of the Service VM.
pub fn is_service_ram(addr: u64, len: u64) -> bool {
    range(addr, len).is_some_and(|r| e820::is_ram(&space().map, r))
}

/// Whether all `len` bytes at `addr` are the Service VM's to give to a User VM: RAM or devices, but
/// nothing of mini-ACRN's.
pub fn is_service_space(addr: u64, len: u64) -> bool {
    let own = image();
    range(addr, len)
        .is_some_and(|r| r.end <= space().top && (r.end <= own.start || r.start >= own.end))
}

/// Copies `out.len()` bytes from `addr` if they are the Service VM's.
pub fn read_bytes(addr: u64, out: &mut [u8]) -> Option<()> {
    if !is_service_space(addr, out.len() as u64) {
        return None;
    }
    // SAFETY: the source is mapped (identity map of 512 GiB) and is not mini-ACRN's memory, so it does not
    // overlap `out`; bytes have no invalid values. A guest that writes meanwhile gets what it deserves: some
    // mixture of bytes.
    unsafe { core::ptr::copy_nonoverlapping(addr as *const u8, out.as_mut_ptr(), out.len()) };
    Some(())
}

/// Copies `data` to `addr` if that is the Service VM's.
pub fn write_bytes(addr: u64, data: &[u8]) -> Option<()> {
    if !is_service_space(addr, data.len() as u64) {
        return None;
    }
    // SAFETY: as for `read_bytes`; no Rust reference to guest memory exists.
    unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), addr as *mut u8, data.len()) };
    Some(())
}

/// Reads a structure from the Service VM's RAM.
pub fn read<T: FromBytes>(addr: u64) -> Option<T> {
    if !is_service_ram(addr, size_of::<T>() as u64) {
        return None;
    }
    let mut out = MaybeUninit::<T>::zeroed();
    // SAFETY: `out` is as long as `T`, initialised (zeros), and borrowed for this call only.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    read_bytes(addr, bytes)?;
    // SAFETY: every byte is initialised and any bytes are a `T` (`FromBytes`).
    Some(unsafe { out.assume_init() })
}

/// Writes a structure to the Service VM's RAM.
pub fn write<T: IntoBytes + Immutable>(addr: u64, value: &T) -> Option<()> {
    if !is_service_ram(addr, size_of::<T>() as u64) {
        return None;
    }
    write_bytes(addr, value.as_bytes())
}

/// Copies `data` to the Service VM's RAM.
pub fn write_bytes_checked(addr: u64, data: &[u8]) -> Option<()> {
    is_service_ram(addr, data.len() as u64).then_some(())?;
    write_bytes(addr, data)
}

/// The Service VM's memory, for page-table walks.
pub struct ServiceMemory;

impl GuestRead for ServiceMemory {
    fn read(&self, gpa: u64, size: usize) -> Option<u64> {
        let mut out = [0; 8];
        is_service_ram(gpa, size as u64).then_some(())?;
        read_bytes(gpa, &mut out[..size])?;
        Some(u64::from_le_bytes(out))
    }
}

/// All physical memory below 4 GiB, for ACPI tables at boot.
pub struct FirmwareMemory;

impl PhysRead for FirmwareMemory {
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let r = range(addr, len as u64).filter(|r| r.start > 0 && r.end <= 1 << 32)?;
        if r.start < image().end && r.end > image().start {
            return None;
        }
        // SAFETY: mapped, not mini-ACRN's, and used before any guest runs, so nothing writes to it.
        Some(unsafe { core::slice::from_raw_parts(addr as *const u8, len) })
    }
}
