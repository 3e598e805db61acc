// SPDX-License-Identifier: GPL-2.0

//! The parameter of ASSIGN_MMIODEV and DEASSIGN_MMIODEV.

use crate::{
    abstractions::mmio_range::MmioRange,
    uapi, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// The memory types that entries of the EPT cannot have (Intel SDM 3C, "EPT and Memory
/// Typing").
const RESERVED_TYPES: [u64; 3] = [2, 3, 7];

/// A device that is passed through by its memory ranges, none of which is RAM of the kernel.
///
/// The hypervisor moves the ranges between the memory of the Service VM and that of the User VM,
/// and checks no more than their alignment, that of each only after it has moved those before. So
/// all ranges are aligned, even empty ones. It does not survive a guest's access to a range of a
/// reserved memory type.
#[repr(transparent)]
pub(crate) struct MmioDevice(uapi::acrn_mmiodev);

impl MmioDevice {
    /// Returns whether the two have the same ranges. Names and memory types do not matter.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.ranges().eq(other.ranges())
    }

    /// Returns address in the User VM, address in the Service VM, and size of each range.
    fn ranges(&self) -> impl Iterator<Item = [u64; 3]> + '_ {
        let ranges = self.0.res.iter();
        ranges.map(|range| [range.user_vm_pa, range.service_vm_pa, range.size])
    }
}

impl TryFrom<uapi::acrn_mmiodev> for MmioDevice {
    type Error = Error;

    /// Fails with `EINVAL` if an address or a size is not a multiple of the page size, or a memory
    /// type is reserved; and as [`MmioRange::new`] does for any of the ranges.
    fn try_from(device: uapi::acrn_mmiodev) -> Result<Self> {
        let device = Self(device);
        let is_aligned = |number| number % PAGE_SIZE as u64 == 0;
        if !device.ranges().flatten().all(is_aligned) {
            return Err(EINVAL);
        }
        // ACRN copies these bits into the entries.
        let mut used = device.0.res.iter().filter(|range| range.size != 0);
        if used.any(|range| RESERVED_TYPES.contains(&(range.mem_type >> 3 & 7))) {
            return Err(EINVAL);
        }
        for [_, start, size] in device.ranges().filter(|[_, _, size]| *size != 0) {
            MmioRange::new(start, size)?;
        }
        Ok(device)
    }
}
