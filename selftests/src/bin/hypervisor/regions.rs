// SPDX-License-Identifier: GPL-2.0

//! Tests of the properties of a region that SET_MEMORY_REGIONS checks, and of those that it does
//! not check.

use acrn_hypercall_abi::MemoryRegion;
use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{GUEST, MappingFixture},
    need,
    region_array::{RegionArray, delete, set_memory_regions},
};
use acrn_uapi::{
    ACRN_MEM_ACCESS_READ, ACRN_MEM_ACCESS_RWX, ACRN_MEM_ACCESS_WRITE, ACRN_MEM_TYPE_WB,
};

use crate::parameters::{GENERIC, INVALID};

const LEN: u64 = PAGE as u64;
/// A physical address beyond all of the Service VM's memory.
const NOWHERE: u64 = 1 << 45;

/// A VM that does not run, and two pages with their physical addresses.
struct Subject {
    fixture: MappingFixture,
    array: RegionArray,
    /// The page that is mapped into the VM.
    _page: GuestMemory,
    page_address: u64,
}

impl Subject {
    fn new() -> Result<Self, String> {
        let page = GuestMemory::anonymous(PAGE);
        page.number_pages(1);
        Ok(Self {
            fixture: MappingFixture::new()?,
            array: RegionArray::new()?,
            page_address: page.physical_address()?,
            _page: page,
        })
    }

    /// Returns a region that maps `size` bytes of the page at `guest`.
    fn add(&self, guest: u64, size: u64) -> MemoryRegion {
        MemoryRegion {
            type_: MemoryRegion::ADD,
            attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_READ,
            user_vm_pa: guest,
            service_vm_pa: self.page_address,
            size,
        }
    }

    /// Makes the hypercall.
    fn set(&self, changes: &[MemoryRegion]) -> i64 {
        self.array
            .set(&self.fixture.probe, self.fixture.vmid, changes)
    }

    /// Returns the physical address that is mapped at `guest`.
    fn behind(&self, guest: u64) -> Option<u64> {
        let query = self.fixture.probe.mapping(self.fixture.vmid, guest);
        (query.mapped == 1).then_some(query.service_vm_pa)
    }
}

/// ACRN refuses sizes that are not multiples of the page size, memory outside of the Service VM,
/// and deletions without a mapping.
pub fn regions_refused() -> Outcome {
    let subject = need!(Subject::new());
    let outside = MemoryRegion {
        service_vm_pa: NOWHERE,
        ..subject.add(GUEST, LEN)
    };
    for change in [
        subject.add(GUEST, 1),
        subject.add(GUEST, LEN + 0x800),
        outside,
        delete(GUEST, LEN),
    ] {
        assert_eq!(subject.set(&[change]), INVALID, "{change:x?}");
        assert_eq!(subject.fixture.mapped_bytes(), 0);
    }
    Outcome::Passed
}

/// A deletion fails if a page of its range is not mapped. It does not even delete a part of the
/// range.
pub fn regions_hole() -> Outcome {
    let subject = need!(Subject::new());
    let pages = [GUEST, GUEST + 2 * LEN];
    let added = pages.map(|guest| subject.add(guest, LEN));
    assert_eq!(subject.set(&added), 0);
    for (guest, pages) in [(GUEST, 3), (GUEST + LEN, 2), (GUEST + 2 * LEN, 2)] {
        assert_eq!(subject.set(&[delete(guest, pages * LEN)]), INVALID);
        assert_eq!(subject.fixture.mapped_bytes(), 2 * LEN);
    }
    assert_eq!(subject.set(&pages.map(|guest| delete(guest, LEN))), 0);
    assert_eq!(subject.fixture.mapped_bytes(), 0);
    Outcome::Passed
}

/// Adding a region over a mapping succeeds without any effect.
pub fn regions_over() -> Outcome {
    let subject = need!(Subject::new());
    let other = MemoryRegion {
        service_vm_pa: subject.array.address(),
        ..subject.add(GUEST, LEN)
    };
    assert_eq!(subject.set(&[subject.add(GUEST, LEN)]), 0);
    assert_eq!(subject.set(&[other]), 0);
    assert_eq!(subject.behind(GUEST), Some(subject.page_address));
    assert_eq!(subject.fixture.mapped_bytes(), LEN);
    Outcome::Passed
}

/// ACRN carries out the regions before the first refused one, and does not roll them back.
pub fn regions_no_roll_back() -> Outcome {
    let subject = need!(Subject::new());
    let set = subject.set(&[
        subject.add(GUEST, LEN),
        subject.add(GUEST, 1),
        subject.add(GUEST + LEN, LEN),
    ]);
    assert_eq!(set, INVALID);
    let seen = [GUEST, GUEST + LEN].map(|guest| subject.behind(guest));
    assert_eq!(seen, [Some(subject.page_address), None]);
    Outcome::Passed
}

/// ACRN rounds an address inside a page up to the next page.
pub fn regions_unaligned() -> Outcome {
    let subject = need!(Subject::new());
    let guest = GUEST + LEN;
    let change = MemoryRegion {
        service_vm_pa: subject.page_address - 0x123,
        ..subject.add(guest - 0x456, LEN)
    };
    assert_eq!(subject.set(&[change]), 0);
    assert_eq!(subject.behind(guest), Some(subject.page_address));
    assert_eq!(subject.fixture.mapped_bytes(), LEN);
    // For a deletion, the unaligned address itself must be mapped.
    assert_eq!(subject.set(&[delete(guest - 0x456, LEN)]), INVALID);
    assert_eq!(subject.set(&[delete(guest, LEN)]), 0);
    assert_eq!(subject.fixture.mapped_bytes(), 0);
    Outcome::Passed
}

/// Adding a region that wraps around succeeds without any effect.
pub fn regions_wrapping() -> Outcome {
    let subject = need!(Subject::new());
    for size in [LEN, 16 * LEN] {
        let change = subject.add(u64::MAX << 12, size);
        assert_eq!(subject.set(&[change]), 0, "{change:x?}");
        assert_eq!(subject.fixture.mapped_bytes(), 0);
    }
    Outcome::Passed
}

/// SET_MEMORY_REGIONS refuses an array outside of the Service VM's memory.
pub fn regions_of_nobody() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let set = set_memory_regions(&fixture.probe, fixture.vmid, 1, NOWHERE);
    assert_eq!(set, GENERIC);
    Outcome::Passed
}

/// A region without any right, or with that to write but not to read, breaks a rule.
pub fn regions_bad_rights() -> Outcome {
    let subject = need!(Subject::new());
    for rights in 0..=ACRN_MEM_ACCESS_RWX {
        let writable_only =
            rights & ACRN_MEM_ACCESS_READ == 0 && rights & ACRN_MEM_ACCESS_WRITE != 0;
        if rights == 0 || writable_only {
            subject.fixture.probe.expect_broken_rule();
        }
        let region = MemoryRegion {
            attr: ACRN_MEM_TYPE_WB | rights,
            ..subject.add(GUEST + u64::from(rights) * LEN, LEN)
        };
        assert_eq!(subject.set(&[region]), 0, "rights {rights:#x}");
    }
    Outcome::Passed
}
