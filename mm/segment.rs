// SPDX-License-Identifier: GPL-2.0

//! The segments of guest memory that SET_MEMSEG maps and UNSET_MEMSEG unmaps.

use super::page_range::{
    GuestRange,
    PageRange,
    UserAddr, //
};
use crate::{
    hypercall::{
        AccessRights,
        GuestPhys,
        ServicePhys, //
    },
    uapi,
};
use kernel::prelude::*;

/// The memory that a segment maps.
pub(crate) enum Source {
    /// Memory of the calling process.
    Ram(PageRange<UserAddr>),
    /// Physical memory of the Service VM.
    Mmio(PageRange<ServicePhys>),
}

/// The argument of SET_MEMSEG. The source is as long as the guest's range.
pub(crate) struct Segment {
    pub(super) guest: GuestRange,
    pub(super) source: Source,
    pub(super) rights: AccessRights,
}

impl TryFrom<uapi::acrn_vm_memmap> for Segment {
    type Error = Error;

    /// Fails with `EINVAL` if the type is unknown, or a range does not consist of whole pages, is
    /// empty, or wraps; and as [`AccessRights::from_attributes`].
    ///
    /// Ignores bits of `attr` that are no access right, as upstream's driver does: the type of the
    /// memory decides on caching.
    fn try_from(memmap: uapi::acrn_vm_memmap) -> Result<Self> {
        // Both members of the union are 64-bit addresses.
        let address = memmap.service_address();
        let guest = PageRange::new(GuestPhys::from(memmap.user_vm_pa), memmap.len)?;
        let source = match memmap.type_ {
            uapi::ACRN_MEMMAP_RAM => {
                Source::Ram(PageRange::new(UserAddr::from(address), memmap.len)?)
            }
            uapi::ACRN_MEMMAP_MMIO => {
                Source::Mmio(PageRange::new(ServicePhys::from(address), memmap.len)?)
            }
            _ => return Err(EINVAL),
        };
        Ok(Self {
            guest,
            source,
            rights: AccessRights::from_attributes(memmap.attr)?,
        })
    }
}

/// The argument of UNSET_MEMSEG, whose source does not matter.
pub(crate) enum UnsetSegment {
    Ram(GuestRange),
    Mmio(GuestRange),
}

impl TryFrom<uapi::acrn_vm_memmap> for UnsetSegment {
    type Error = Error;

    /// Fails with `EINVAL` if the type is unknown, or the range does not consist of whole pages, is
    /// empty, or wraps.
    fn try_from(memmap: uapi::acrn_vm_memmap) -> Result<Self> {
        let guest = PageRange::new(GuestPhys::from(memmap.user_vm_pa), memmap.len)?;
        match memmap.type_ {
            uapi::ACRN_MEMMAP_RAM => Ok(Self::Ram(guest)),
            uapi::ACRN_MEMMAP_MMIO => Ok(Self::Mmio(guest)),
            _ => Err(EINVAL),
        }
    }
}
