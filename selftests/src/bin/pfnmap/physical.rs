// SPDX-License-Identifier: GPL-2.0

//! VMs that have memory without kernel pages.

use acrn_hypercall_abi::MemoryRegion;
use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    mapping_fixture::{GUEST, MappingFixture, whole},
    trace::Trace,
};

pub use acrn_selftests::physical::{FIRMWARE, HPET, NOWHERE, map};

/// A VM that has all of a mapping of [`NOWHERE`] at [`GUEST`].
pub struct Mapped {
    /// The VM.
    pub fixture: MappingFixture,
    /// The mapping.
    pub memory: GuestMemory,
}

impl Mapped {
    /// Creates the VM. The error says why the test must be skipped.
    pub fn new(pages: usize) -> Result<Self, String> {
        let fixture = MappingFixture::new()?;
        let memory = map(NOWHERE, pages * PAGE)?;
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        assert_eq!(fixture.mapped_bytes(), memory.len() as u64);
        Ok(Self { fixture, memory })
    }
}

/// Panics unless the guest has lost `pages` pages from [`GUEST`] on, by a hypercall that was made
/// since `trace` began.
#[track_caller]
pub fn assert_lost(fixture: &MappingFixture, trace: &Trace<'_>, pages: usize) {
    let deleted = |region: &MemoryRegion| region.type_ == MemoryRegion::DELETE;
    assert!(
        trace.regions().iter().any(deleted),
        "the hypervisor deleted no region"
    );
    for page in 0..pages {
        assert_absent(fixture, page);
    }
}

/// Panics if page `page` of the memory is still mapped into the guest.
#[track_caller]
pub fn assert_absent(fixture: &MappingFixture, page: usize) {
    let address = GUEST + (page * PAGE) as u64;
    let query = fixture.probe.mapping(fixture.vmid, address);
    assert_eq!(query.mapped, 0, "page {page} is still mapped");
}
