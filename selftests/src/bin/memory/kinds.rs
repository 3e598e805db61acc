// SPDX-License-Identifier: GPL-2.0

//! Tests that memory of every kind is mapped completely, and that no other memory is mapped.

use acrn_selftests::{
    guest_memory::{GuestMemory, HUGE_PAGE, PAGE},
    harness::Outcome,
    need,
    trace::Trace,
};
use acrn_uapi::*;
use nix::{errno::Errno, sys::mman::MmapAdvise};

use acrn_selftests::mapping_fixture::{
    GUEST, MappingFixture, assert_contiguous, check_mapping, ram, scattered, whole,
};

/// Anonymous memory in pages of 4 KiB is mapped. The device model sees the guest's writes.
pub fn small_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(64 * PAGE);
    memory.number_pages(0x1000);
    check_mapping(&fixture, &memory);
    let value = 0x0123_4567_89ab_cdef_u64;
    fixture.probe.write_guest(
        fixture.vmid,
        GUEST + 7 * PAGE as u64 + 8,
        &value.to_le_bytes(),
    );
    assert_eq!(memory.read::<u64>(7 * PAGE + 8), value);
    fixture.destroy();
    Outcome::Passed
}

/// RAM has write-back caching and the requested access rights.
pub fn attributes() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(2 * PAGE);
    memory.number_pages(1);
    let read_only = acrn_vm_memmap {
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_READ,
        ..ram(GUEST, &memory, 0, PAGE)
    };
    let all = GUEST + PAGE as u64;
    fixture.set(read_only).expect("SET_MEMSEG");
    fixture
        .set(ram(all, &memory, PAGE, PAGE))
        .expect("SET_MEMSEG");

    let query = fixture.probe.mapping(fixture.vmid, GUEST);
    assert_eq!((query.mapped, query.writable, query.executable), (1, 0, 0));
    assert_eq!(query.mem_type, u64::from(ACRN_MEM_TYPE_WB));
    let query = fixture.probe.mapping(fixture.vmid, all);
    assert_eq!((query.mapped, query.writable, query.executable), (1, 1, 1));
    assert_eq!(query.mem_type, u64::from(ACRN_MEM_TYPE_WB));
    fixture.destroy();
    Outcome::Passed
}

/// A transparent huge page is mapped as one region.
pub fn transparent_huge_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::transparent_huge(HUGE_PAGE));
    memory.number_pages(0x2000);
    let regions = check_mapping(&fixture, &memory);
    assert_eq!(regions.len(), 1, "{regions:#x?}");
    fixture.destroy();
    Outcome::Passed
}

/// Only the given part of a huge page is mapped, wherever the part begins (A6).
pub fn part_of_huge_page() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::transparent_huge(HUGE_PAGE));
    memory.number_pages(0x3000);
    for (page, pages) in [(0, 1), (5, 1), (511, 1), (3, 17)] {
        let (offset, len) = (page * PAGE, pages * PAGE);
        let trace = Trace::start(&fixture.probe);
        fixture
            .set(ram(GUEST, &memory, offset, len))
            .expect("SET_MEMSEG");
        assert_contiguous(&trace.regions(), GUEST, len);
        fixture.assert_shows(GUEST, &memory, offset, len);
        fixture
            .unset(ram(GUEST, &memory, offset, len))
            .expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// The memory begins with a huge page, and other pages have replaced some of its pages. Each page
/// is mapped where the device model has it (A6).
pub fn huge_page_with_other_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::transparent_huge(HUGE_PAGE));
    memory.number_pages(0x4000);
    let other = GuestMemory::anonymous(2 * PAGE);
    other.number_pages(0x4444_0000);
    memory.move_page(9 * PAGE, &other, 0);
    memory.move_page(400 * PAGE, &other, PAGE);
    check_mapping(&fixture, &memory);
    fixture.destroy();
    Outcome::Passed
}

/// Huge pages of hugetlbfs are mapped by at most one region each.
pub fn hugetlb() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::huge(2 * HUGE_PAGE));
    memory.number_pages(0x5000);
    let regions = check_mapping(&fixture, &memory);
    assert!(regions.len() <= 2, "{regions:#x?}");
    fixture.destroy();
    Outcome::Passed
}

/// A part of hugetlbfs memory is mapped (A6).
pub fn part_of_hugetlb() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::huge(2 * HUGE_PAGE));
    memory.number_pages(0x6000);
    // The last page of the first huge page and the first page of the second.
    let offset = HUGE_PAGE - PAGE;
    fixture
        .set(ram(GUEST, &memory, offset, 2 * PAGE))
        .expect("SET_MEMSEG");
    fixture.assert_shows(GUEST, &memory, offset, 2 * PAGE);
    fixture.destroy();
    Outcome::Passed
}

/// Shared memory is mapped.
pub fn shared_memory() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::shared(64 * PAGE);
    memory.number_pages(0x7000);
    check_mapping(&fixture, &memory);
    fixture.destroy();
    Outcome::Passed
}

/// Memory that has no pages yet is mapped as well.
pub fn untouched_memory() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(16 * PAGE);
    check_mapping(&fixture, &memory);
    fixture.destroy();
    Outcome::Passed
}

/// More physically scattered pages than one batch holds are mapped.
pub fn scattered_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered(1500);
    check_mapping(&fixture, &memory);
    fixture.destroy();
    Outcome::Passed
}

/// A mapping with a hole is refused, and no page stays mapped or pinned.
pub fn hole() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for page in [0, 31, 63] {
        let memory = GuestMemory::anonymous(64 * PAGE);
        memory.number_pages(0x8000);
        memory.unmap(page * PAGE, PAGE);
        let trace = Trace::start(&fixture.probe);
        assert_eq!(
            fixture.set(whole(&memory)),
            Err(Errno::EFAULT),
            "page {page}"
        );
        trace.assert_no_hypercalls();
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// The guest keeps its memory when the device model unmaps or drops it.
pub fn outlives_its_mapping() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(4 * PAGE);
    memory.number_pages(0x9000);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    memory.advise(MmapAdvise::MADV_DONTNEED);
    drop(memory);
    // Other users of memory must not get these pages.
    let other = GuestMemory::anonymous(256 * PAGE);
    other.number_pages(0xffff_0000);
    let seen = fixture
        .probe
        .read_guest(fixture.vmid, GUEST + PAGE as u64, 8);
    assert_eq!(seen.as_deref(), Some(&0x9001_u64.to_le_bytes()[..]));
    fixture.destroy();
    Outcome::Passed
}

/// Device memory is uncached with any requested type, and can be unset.
pub fn mmio() -> Outcome {
    /// The HPET, which every machine of QEMU has.
    const DEVICE: u64 = 0xfed0_0000;
    let fixture = need!(MappingFixture::new());
    let segment = acrn_vm_memmap {
        type_: ACRN_MEMMAP_MMIO,
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_RWX,
        user_vm_pa: 0xd000_0000,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
            service_vm_pa: DEVICE,
        },
        len: PAGE as u64,
    };
    let trace = Trace::start(&fixture.probe);
    fixture.set(segment).expect("SET_MEMSEG");
    assert_contiguous(&trace.regions(), 0xd000_0000, PAGE);
    let query = fixture.probe.mapping(fixture.vmid, 0xd000_0000);
    assert_eq!((query.mapped, query.writable), (1, 1));
    assert_eq!(query.service_vm_pa, DEVICE);
    assert_eq!(query.mem_type, u64::from(ACRN_MEM_TYPE_UC));
    assert_eq!(fixture.pinned(), 0);

    fixture.unset(segment).expect("UNSET_MEMSEG");
    assert_eq!(fixture.probe.mapping(fixture.vmid, 0xd000_0000).mapped, 0);
    fixture.destroy();
    Outcome::Passed
}
