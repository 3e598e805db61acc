// SPDX-License-Identifier: GPL-2.0

//! A VM with memory that the kernel has no pages for.

use acrn_selftests::{
    area::{Area, PAGE},
    bench::{Bench, GUEST, whole},
    trace::{Region, Trace},
};

pub use acrn_selftests::physical::{FIRMWARE, HPET, NOWHERE, map};

/// A VM that has all of an area of [`NOWHERE`] at [`GUEST`].
pub struct Mapped {
    /// The VM.
    pub bench: Bench,
    /// The area.
    pub area: Area,
}

impl Mapped {
    /// The error says why the test has to be skipped.
    pub fn new(pages: usize) -> Result<Self, String> {
        let bench = Bench::new()?;
        let area = map(NOWHERE, pages * PAGE)?;
        bench.set(whole(&area)).expect("SET_MEMSEG");
        assert_eq!(bench.mapped_bytes(), area.len() as u64);
        Ok(Self { bench, area })
    }
}

/// Panics unless the guest has lost `pages` pages from [`GUEST`] on, and the hypervisor was told so since
/// `trace` began.
pub fn assert_taken_away(bench: &Bench, trace: &Trace<'_>, pages: usize) {
    let deleted = |region: &Region| region.operation == Region::DELETE;
    assert!(trace.regions().iter().any(deleted), "nothing was deleted");
    for page in 0..pages {
        assert_absent(bench, page);
    }
}

/// Panics if the guest has page `page` of its area.
pub fn assert_absent(bench: &Bench, page: usize) {
    let address = GUEST + (page * PAGE) as u64;
    let query = bench.probe.mapping(bench.vmid, address);
    assert_eq!(query.mapped, 0, "page {page} is still mapped");
}
