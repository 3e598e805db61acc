// SPDX-License-Identifier: GPL-2.0

//! SET_MEMORY_REGIONS: changes to the memory of a VM.

use super::{
    vmcall,
    GuestPhys,
    ServicePhys,
    VmId, //
};
use crate::{
    abstractions::{
        contiguous::{
            Contiguous,
            ContiguousVec, //
        },
        lent_pages::LentRun,
        mmio_range::MmioRange,
        mmu_interval_notifier::NotifiedPfns, //
    },
    uapi,
};
use core::marker::PhantomData;
use kernel::prelude::*;

const SET_MEMORY_REGIONS: u64 = 0x8000_0042;

/// The rights of a guest to a part of its memory: `ACRN_MEM_ACCESS_READ`, and any others of
/// `ACRN_MEM_ACCESS_*`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccessRights(u32);

impl AccessRights {
    /// Returns the rights in the attributes of a segment. Ignores all other bits, as upstream's
    /// driver does.
    ///
    /// Fails with `EINVAL` if the guest may not read. ACRN copies the rights into the EPT: an entry
    /// without any is not present, one to write but not to read is a misconfiguration that ACRN
    /// does not survive, and not every CPU supports execute-only entries.
    pub(crate) fn from_attributes(attr: u32) -> Result<Self> {
        if attr & uapi::ACRN_MEM_ACCESS_READ == 0 {
            return Err(EINVAL);
        }
        Ok(Self(attr & uapi::ACRN_MEM_ACCESS_RIGHT_MASK))
    }

    /// Returns whether the guest may write.
    pub(crate) fn may_write(self) -> bool {
        self.0 & uapi::ACRN_MEM_ACCESS_WRITE != 0
    }
}

/// An entry of the array of SET_MEMORY_REGIONS (`struct vm_memory_region`).
#[repr(C)]
#[derive(Clone, Copy)]
struct RegionEntry {
    operation: u32,
    attr: u32,
    user_vm_pa: u64,
    service_vm_pa: u64,
    size: u64,
}
static_assert!(size_of::<RegionEntry>() == 32);

/// A change to the memory of a VM. It borrows the memory that it maps until the change is made.
pub(crate) struct MemoryRegion<'a> {
    entry: RegionEntry,
    _source: PhantomData<&'a ()>,
}

impl<'a> MemoryRegion<'a> {
    const ADD: u32 = 0;
    const DELETE: u32 = 2;

    /// Maps lent memory at `guest`, cached.
    pub(crate) fn add_pages(guest: GuestPhys, pages: LentRun<'a>, rights: AccessRights) -> Self {
        let attr = uapi::ACRN_MEM_TYPE_WB | rights.0;
        Self::add(guest, pages.phys().into(), pages.len(), attr)
    }

    /// Maps memory that has a notifier at `guest`, cached.
    pub(crate) fn add_pfns(
        guest: GuestPhys,
        pfns: &'a NotifiedPfns<'_>,
        rights: AccessRights,
    ) -> Self {
        let attr = uapi::ACRN_MEM_TYPE_WB | rights.0;
        Self::add(guest, pfns.phys().into(), pfns.len(), attr)
    }

    /// Maps the memory of a device at `guest`, uncached.
    pub(crate) fn add_mmio(guest: GuestPhys, range: &'a MmioRange, rights: AccessRights) -> Self {
        let attr = uapi::ACRN_MEM_TYPE_UC | rights.0;
        Self::add(guest, range.phys().into(), range.len(), attr)
    }

    fn add(guest: GuestPhys, service: ServicePhys, size: u64, attr: u32) -> Self {
        Self {
            entry: RegionEntry {
                operation: Self::ADD,
                attr,
                user_vm_pa: guest.into(),
                service_vm_pa: service.into(),
                size,
            },
            _source: PhantomData,
        }
    }

    /// Unmaps `size` bytes at `guest`.
    pub(crate) fn delete(guest: GuestPhys, size: u64) -> Self {
        Self {
            entry: RegionEntry {
                operation: Self::DELETE,
                attr: 0,
                user_vm_pa: guest.into(),
                service_vm_pa: 0,
                size,
            },
            _source: PhantomData,
        }
    }
}

/// The parameter of SET_MEMORY_REGIONS (`struct set_regions`).
#[repr(C)]
struct MemoryRegions {
    vmid: u16,
    reserved: [u16; 3],
    regions_num: u32,
    reserved1: u32,
    regions_gpa: u64,
}
static_assert!(size_of::<MemoryRegions>() == 24);

/// The memory for the parameters of a SET_MEMORY_REGIONS hypercall, so that making it does not
/// allocate.
pub(crate) struct RegionBatch {
    parameter: Contiguous<MemoryRegions>,
    regions: ContiguousVec<RegionEntry>,
}

impl RegionBatch {
    /// Allocates room for hypercalls for `vm` with `wanted` regions, or with as many as fit in a
    /// [`ContiguousVec`].
    pub(crate) fn with_room_for(vm: VmId, wanted: usize) -> Result<Self> {
        let regions = ContiguousVec::with_capacity_up_to(wanted)?;
        Ok(Self {
            parameter: Contiguous::new(MemoryRegions {
                vmid: vm.into(),
                reserved: [0; 3],
                regions_num: 0,
                reserved1: 0,
                regions_gpa: regions.phys(),
            })?,
            regions,
        })
    }

    /// Returns the number of regions that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.regions.capacity()
    }

    /// Makes the changes in order. The VM has access to an added region at once.
    ///
    /// Stops at the first change that fails, and does not roll back. Fails with `ENOSPC`, and
    /// changes nothing, if the regions do not fit.
    pub(crate) fn apply<'a>(&mut self, regions: impl Iterator<Item = MemoryRegion<'a>>) -> Result {
        self.regions.refill(regions.map(|region| region.entry))?;
        self.parameter.regions_num = u32::try_from(self.regions.len()).map_err(|_| EINVAL)?;
        // SAFETY: Reads `*parameter` and `regions`. The types from which regions are made guarantee
        // that the memory may be mapped.
        unsafe { vmcall(SET_MEMORY_REGIONS, self.parameter.phys(), 0) }
    }
}
