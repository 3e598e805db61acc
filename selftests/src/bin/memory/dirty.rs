// SPDX-License-Identifier: GPL-2.0

//! Tests that data that the guest has written is not lost when the driver unpins the memory (A9).

use std::{fs::File, os::unix::fs::FileExt};

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{MappingFixture, whole},
    need, skip,
};

/// Bits that `Documentation/admin-guide/mm/pagemap.rst` of the kernel defines.
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;
const DIRTY: u64 = 1 << 4;

/// Page tables and page flags, as the kernel shows them.
struct PageFlags {
    own: File,
    all: File,
}

impl PageFlags {
    fn open() -> Result<Self, String> {
        let open = |path| File::open(path).map_err(|error| format!("{path}: {error}"));
        Ok(Self {
            own: open("/proc/self/pagemap")?,
            all: open("/proc/kpageflags")?,
        })
    }

    /// Returns for each page of `memory` whether it is dirty.
    fn dirty(&self, memory: &GuestMemory) -> Vec<bool> {
        let entry = |file: &File, index: u64| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, 8 * index).expect("an entry");
            u64::from_le_bytes(bytes)
        };
        let first = memory.address() / PAGE as u64;
        let pages = first..first + (memory.len() / PAGE) as u64;
        let dirty = pages.map(|page| {
            let own = entry(&self.own, page);
            assert_ne!(own & PRESENT, 0, "the page is not present");
            entry(&self.all, own & FRAME) & DIRTY != 0
        });
        dirty.collect()
    }
}

/// The guest writes to pages without the kernel's knowledge, so the driver must mark them as dirty
/// when it unpins them.
///
/// The test examines the mark, because there is no disk from which a page could be read back
/// without the guest's data.
pub fn pages_are_dirty() -> Outcome {
    let flags = need!(PageFlags::open());
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(16 * PAGE);
    memory.number_pages(1);
    if flags.dirty(&memory).contains(&true) {
        skip!("this kernel marks new pages as dirty");
    }
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture.destroy();
    let dirty = flags.dirty(&memory);
    assert!(!dirty.contains(&false), "pages that are dirty: {dirty:?}");
    Outcome::Passed
}
