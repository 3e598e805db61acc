// SPDX-License-Identifier: GPL-2.0

//! SET_MEMORY_REGIONS without the driver's knowledge.

use acrn_hypercall_abi::{MemoryRegion, MemoryRegions};
use zerocopy::{FromZeros, IntoBytes};

use crate::{
    guest_memory::{GuestMemory, PAGE},
    hypercall::SET_MEMORY_REGIONS,
    probe::Probe,
};

/// An array of regions that the hypervisor can read.
pub struct RegionArray {
    memory: GuestMemory,
    address: u64,
}

impl RegionArray {
    /// Allocates room for a page of regions. The error says why the test must be skipped.
    pub fn new() -> Result<Self, String> {
        let memory = GuestMemory::anonymous(PAGE);
        memory.number_pages(0);
        Ok(Self {
            address: memory.physical_address()?,
            memory,
        })
    }

    /// Returns the physical address of the array.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Makes the hypercall with `regions`, and returns its result.
    pub fn set(&self, probe: &Probe, vmid: u16, regions: &[MemoryRegion]) -> i64 {
        self.memory.write_bytes(0, regions.as_bytes());
        let count = regions.len() as u32;
        set_memory_regions(probe, vmid, count, self.address)
    }
}

/// Makes the hypercall with the `count` regions at the physical address `address`, and returns its
/// result.
pub fn set_memory_regions(probe: &Probe, vmid: u16, count: u32, address: u64) -> i64 {
    let mut parameter = MemoryRegions::new_zeroed();
    parameter.vmid = vmid;
    parameter.mr_num = count;
    parameter.regions_gpa = address;
    probe.call_with_parameter(SET_MEMORY_REGIONS, None, parameter.as_bytes())
}

/// Returns a region that unmaps `size` bytes from the guest address `guest` on.
pub fn delete(guest: u64, size: u64) -> MemoryRegion {
    MemoryRegion {
        type_: MemoryRegion::DELETE,
        attr: 0,
        user_vm_pa: guest,
        service_vm_pa: 0,
        size,
    }
}
