// SPDX-License-Identifier: GPL-2.0

//! What the guest wrote is not lost when the driver lets go of the memory (A9).

use std::{fs::File, os::unix::fs::FileExt};

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{MappingFixture, whole},
    need, skip,
};

/// Numbers as `Documentation/admin-guide/mm/pagemap.rst` of the kernel has them.
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;
const DIRTY: u64 = 1 << 4;

/// The kernel's tables of pages.
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

    /// Which pages of `area` are dirty.
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
            assert_ne!(own & PRESENT, 0, "a page that is not there");
            entry(&self.all, own & FRAME) & DIRTY != 0
        });
        dirty.collect()
    }
}

/// The guest writes to pages unseen by the kernel: they are marked as dirty when they are unpinned.
///
/// There is no disk here from which a page could come back without what was written, so that the mark itself
/// is looked at.
pub fn pages_are_dirty() -> Outcome {
    let flags = need!(PageFlags::open());
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(16 * PAGE);
    memory.number_pages(1);
    if flags.dirty(&memory).contains(&true) {
        skip!("this kernel has fresh pages dirty");
    }
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture.destroy();
    let dirty = flags.dirty(&memory);
    assert!(!dirty.contains(&false), "not dirty: {dirty:?}");
    Outcome::Passed
}
