// SPDX-License-Identifier: GPL-2.0

//! The parameter of ASSIGN_MMIODEV and DEASSIGN_MMIODEV.

use crate::{
    abstractions::mmio_range::MmioRange,
    uapi, //
};
use kernel::prelude::*;

/// A device that is passed through by its memory ranges, none of which is RAM of the kernel.
///
/// The hypervisor moves the ranges between the memory of the Service VM and that of the User VM,
/// and checks no more than their alignment.
#[repr(transparent)]
pub(crate) struct MmioDevice(uapi::acrn_mmiodev);

impl TryFrom<uapi::acrn_mmiodev> for MmioDevice {
    type Error = Error;

    /// Fails as [`MmioRange::new`] does for any of the ranges.
    fn try_from(device: uapi::acrn_mmiodev) -> Result<Self> {
        for range in device.res.iter().filter(|range| range.size != 0) {
            MmioRange::new(range.service_vm_pa, range.size)?;
        }
        Ok(Self(device))
    }
}
