// SPDX-License-Identifier: GPL-2.0

//! Physical memory in this process, by `/dev/mem`.

use std::fs::OpenOptions;

use crate::guest_memory::GuestMemory;

/// A part of the machine's window for PCI devices that has none in it.
pub const NOWHERE: u64 = 0xe000_0000;
/// The HPET: there in every machine of QEMU's.
pub const HPET: u64 = 0xfed0_0000;
/// The firmware's read-only memory, 64 KiB, which the kernel has reserved pages for.
pub const FIRMWARE: u64 = 0xf_0000;

/// `len` bytes from a physical address. The error says why the test has to be skipped.
pub fn map(address: u64, len: usize) -> Result<GuestMemory, String> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/mem");
    let file = file.map_err(|error| format!("/dev/mem: {error}"))?;
    GuestMemory::of_file_from(file, address, len)
}
