// SPDX-License-Identifier: GPL-2.0

//! A VM with memory that the kernel has no pages for.

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    mapping_fixture::{GUEST, MappingFixture, whole},
    trace::{Region, Trace},
};

pub use acrn_selftests::physical::{FIRMWARE, HPET, NOWHERE, map};

/// A VM that has all of an area of [`NOWHERE`] at [`GUEST`].
pub struct Mapped {
    /// The VM.
    pub fixture: MappingFixture,
    /// The area.
    pub memory: GuestMemory,
}

impl Mapped {
    /// The error says why the test has to be skipped.
    pub fn new(pages: usize) -> Result<Self, String> {
        let fixture = MappingFixture::new()?;
        let memory = map(NOWHERE, pages * PAGE)?;
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        assert_eq!(fixture.mapped_bytes(), memory.len() as u64);
        Ok(Self { fixture, memory })
    }
}

/// Panics unless the guest has lost `pages` pages from [`GUEST`] on, and the hypervisor was told so since
/// `trace` began.
pub fn assert_taken_away(fixture: &MappingFixture, trace: &Trace<'_>, pages: usize) {
    let deleted = |region: &Region| region.operation == Region::DELETE;
    assert!(trace.regions().iter().any(deleted), "nothing was deleted");
    for page in 0..pages {
        assert_absent(fixture, page);
    }
}

/// Panics if the guest has page `page` of its area.
pub fn assert_absent(fixture: &MappingFixture, page: usize) {
    let address = GUEST + (page * PAGE) as u64;
    let query = fixture.probe.mapping(fixture.vmid, address);
    assert_eq!(query.mapped, 0, "page {page} is still mapped");
}
