// SPDX-License-Identifier: GPL-2.0

//! Maps physical memory into this process, by `/dev/mem`.

use std::fs::OpenOptions;

use crate::guest_memory::GuestMemory;

/// An address in the machine's window for PCI devices at which there is no device.
pub const NOWHERE: u64 = 0xe000_0000;
/// The HPET, which every machine of QEMU has.
pub const HPET: u64 = 0xfed0_0000;
/// The firmware's read-only memory, 64 KiB, for which the kernel has reserved pages.
pub const FIRMWARE: u64 = 0xf_0000;

/// Maps `len` bytes from a physical address. The error says why the test must be skipped.
pub fn map(address: u64, len: usize) -> Result<GuestMemory, String> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/mem");
    let file = file.map_err(|error| format!("/dev/mem: {error}"))?;
    GuestMemory::of_file_from(file, address, len)
}
