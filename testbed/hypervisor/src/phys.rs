// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Physical memory of the Service VM, which mini-ACRN reads and writes on behalf of guests.
//!
//! The Service VM is mapped one to one. Therefore the guest-physical address of a parameter needs a
//! check, but no translation.

use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::ops::Range;
use mini_acrn_logic::{acpi::PhysRead, e820, walk::GuestRead};
use spin::Once;
use zerocopy::{FromBytes, Immutable, IntoBytes};

// SAFETY: These are symbols of the linker script, used only as declared here.
unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
}

/// The physical address space of the Service VM.
pub struct Space {
    /// The memory map, in which mini-ACRN's memory is reserved.
    pub map: Vec<e820::Entry>,
    /// First address above the memory that the Service VM reaches: RAM, and devices below 4 GiB.
    pub top: u64,
}

static SPACE: Once<Space> = Once::new();

/// Returns the memory of mini-ACRN itself.
pub fn image() -> Range<u64> {
    (&raw const image_start as u64)..(&raw const image_end as u64)
}

/// Sets the memory map. Called once.
pub fn init(map: &[e820::Entry]) -> &'static Space {
    SPACE.call_once(|| {
        let map = e820::reserve(map, image());
        let top = e820::top_of_ram(&map).next_multiple_of(1 << 30).max(1 << 32);
        Space { map, top }
    })
}

/// Returns the address space of the Service VM.
pub fn space() -> &'static Space {
    SPACE.get().expect("memory map is known")
}

fn range(addr: u64, len: u64) -> Option<Range<u64>> {
    Some(addr..addr.checked_add(len)?)
}

/// Returns whether all `len` bytes at `addr` are RAM of the Service VM.
pub fn is_service_ram(addr: u64, len: u64) -> bool {
    range(addr, len).is_some_and(|r| e820::is_ram(&space().map, r))
}

/// Returns whether a User VM may get all `len` bytes at `addr`: RAM or devices, but no memory of
/// mini-ACRN.
pub fn is_service_space(addr: u64, len: u64) -> bool {
    let own = image();
    range(addr, len)
        .is_some_and(|r| r.end <= space().top && (r.end <= own.start || r.start >= own.end))
}

/// Copies `out.len()` bytes from `addr`. Returns `None` unless they belong to the Service VM.
pub fn read_bytes(addr: u64, out: &mut [u8]) -> Option<()> {
    if !is_service_space(addr, out.len() as u64) {
        return None;
    }
    // SAFETY: The source is mapped (512 GiB are mapped one to one) and is not memory of mini-ACRN,
    // so that it does not overlap `out`. Every byte is valid. A guest that writes at the same time
    // causes a mixture of old and new bytes, which is allowed.
    unsafe { core::ptr::copy_nonoverlapping(addr as *const u8, out.as_mut_ptr(), out.len()) };
    Some(())
}

/// Copies `data` to `addr`. Returns `None` unless the memory belongs to the Service VM.
pub fn write_bytes(addr: u64, data: &[u8]) -> Option<()> {
    if !is_service_space(addr, data.len() as u64) {
        return None;
    }
    // SAFETY: As for `read_bytes`. No Rust reference to guest memory exists.
    unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), addr as *mut u8, data.len()) };
    Some(())
}

/// Reads a structure from RAM of the Service VM.
pub fn read<T: FromBytes>(addr: u64) -> Option<T> {
    if !is_service_ram(addr, size_of::<T>() as u64) {
        return None;
    }
    let mut out = MaybeUninit::<T>::zeroed();
    // SAFETY: `out` is as long as `T`, is initialised with zeros, and is borrowed for this call
    // only.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    read_bytes(addr, bytes)?;
    // SAFETY: Every byte is initialised, and any bytes are a valid `T` (`FromBytes`).
    Some(unsafe { out.assume_init() })
}

/// Writes a structure to RAM of the Service VM.
pub fn write<T: IntoBytes + Immutable>(addr: u64, value: &T) -> Option<()> {
    if !is_service_ram(addr, size_of::<T>() as u64) {
        return None;
    }
    write_bytes(addr, value.as_bytes())
}

/// Copies `data` to RAM of the Service VM.
pub fn write_bytes_checked(addr: u64, data: &[u8]) -> Option<()> {
    is_service_ram(addr, data.len() as u64).then_some(())?;
    write_bytes(addr, data)
}

/// The memory of the Service VM, for page-table walks.
pub struct ServiceMemory;

impl GuestRead for ServiceMemory {
    fn read(&self, gpa: u64, size: usize) -> Option<u64> {
        let mut out = [0; 8];
        is_service_ram(gpa, size as u64).then_some(())?;
        read_bytes(gpa, &mut out[..size])?;
        Some(u64::from_le_bytes(out))
    }
}

/// Physical memory below 4 GiB, for the ACPI tables at boot.
pub struct FirmwareMemory;

impl PhysRead for FirmwareMemory {
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let r = range(addr, len as u64).filter(|r| r.start > 0 && r.end <= 1 << 32)?;
        if r.start < image().end && r.end > image().start {
            return None;
        }
        // SAFETY: The memory is mapped and is not mini-ACRN's. It is used before any guest runs, so
        // that no write to it happens.
        Some(unsafe { core::slice::from_raw_parts(addr as *const u8, len) })
    }
}
