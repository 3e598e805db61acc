// SPDX-License-Identifier: GPL-2.0

//! Byte patterns that show whether a structure arrived unchanged.

use std::mem::{offset_of, size_of};

use acrn_uapi::{
    acrn_mmio_dev_res, acrn_mmiodev,
    ioctl::{ACRN_IOCTL_ASSIGN_MMIODEV, ACRN_IOCTL_DEASSIGN_MMIODEV},
};

use crate::{guest_memory::PAGE, physical::HPET};

/// Guest address of an MMIO device.
const GUEST: u64 = 0xd000_0000;

/// Returns `size` bytes that are not zero and that differ for each `round`.
pub fn pattern(size: usize, round: usize) -> Vec<u8> {
    let bytes = 0..size;
    bytes
        .map(|at| ((at * 7 + round * 31) % 255) as u8 + 1)
        .collect()
}

/// Returns a pattern for the structure of `request`.
///
/// The driver checks the ranges of an MMIO device. They are that of the HPET, page-aligned in the
/// guest, and of the memory type UC of the EPT, which is 0 in bits 5:3.
pub fn structure(request: u32, round: usize) -> Vec<u8> {
    let mut bytes = pattern((request >> 16 & 0x3fff) as usize, round);
    if matches!(
        request,
        ACRN_IOCTL_ASSIGN_MMIODEV | ACRN_IOCTL_DEASSIGN_MMIODEV
    ) {
        let ranges = &mut bytes[offset_of!(acrn_mmiodev, res)..];
        for range in ranges.chunks_exact_mut(size_of::<acrn_mmio_dev_res>()) {
            for (offset, value) in [
                (offset_of!(acrn_mmio_dev_res, user_vm_pa), GUEST),
                (offset_of!(acrn_mmio_dev_res, service_vm_pa), HPET),
                (offset_of!(acrn_mmio_dev_res, size), PAGE as u64),
            ] {
                range[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
            }
            range[offset_of!(acrn_mmio_dev_res, mem_type)] &= !0x38;
        }
    }
    bytes
}
