// SPDX-License-Identifier: GPL-2.0

//! Tests of memory that is set over other memory, and of memory that is unset with either type, as
//! acrn-dm does at each reset of a guest.

use acrn_hypercall_abi::MemoryRegion;
use acrn_selftests::{
    guest_memory::{GuestMemory, HUGE_PAGE, PAGE},
    harness::Outcome,
    mapping_fixture::{GUEST, MappingFixture, as_mmio, locked, ram, whole},
    need,
    physical::FIRMWARE,
    status::Status,
    trace::Trace,
};
use acrn_uapi::{ACRN_MEM_ACCESS_READ, ACRN_MEM_ACCESS_RWX, ACRN_MEM_TYPE_WB, acrn_vm_memmap};
use nix::errno::Errno;

/// A buffer is set as RAM, unset as MMIO and freed repeatedly. No pin and no charge is left behind.
pub fn fresh_buffers() -> Outcome {
    const ROUNDS: usize = 1000;
    let fixture = need!(MappingFixture::new());
    let before = locked();
    for round in 0..ROUNDS {
        // Some buffers are in small pages, which take long. The others are from a pool of 64 huge
        // pages.
        let memory = if round % 100 == 0 {
            GuestMemory::anonymous(HUGE_PAGE)
        } else {
            need!(GuestMemory::huge(HUGE_PAGE))
        };
        memory.write::<u64>(0, round as u64);
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        fixture
            .unset(as_mmio(whole(&memory)))
            .expect("UNSET_MEMSEG");
        assert_eq!(fixture.pinned(), 0, "pins after round {round}");
        assert_eq!(locked(), before, "VmLck after round {round}");
    }
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If the same segment is set 300 times, it is mapped and pinned once, with one hypercall.
pub fn same_segment() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(16 * PAGE);
    memory.number_pages(0x500);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let lock = locked();
    let trace = Trace::start(&fixture.probe);
    for _ in 1..300 {
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        assert_eq!(fixture.pinned(), 16);
        assert_eq!(locked(), lock);
        assert_eq!(
            Status::of(&fixture.device).number("mapped_bytes"),
            16 * PAGE as u64
        );
    }
    // A part of the segment counts as set as well.
    let part = ram(GUEST + 4 * PAGE as u64, &memory, 4 * PAGE, 3 * PAGE);
    fixture.set(part).expect("SET_MEMSEG");
    assert_eq!(trace.regions(), [], "regions in hypercalls");
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If the same pages are set with other rights, the new rights apply.
pub fn other_rights() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(4 * PAGE);
    memory.number_pages(0x580);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let read_only = acrn_vm_memmap {
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_READ,
        ..whole(&memory)
    };
    for (segment, writable) in [(read_only, 0), (whole(&memory), 1)] {
        fixture.set(segment).expect("SET_MEMSEG");
        assert_eq!(
            fixture.probe.mapping(fixture.vmid, GUEST).writable,
            writable
        );
        assert_eq!(fixture.pinned(), 4);
    }
    fixture.destroy();
    Outcome::Passed
}

/// Other pages are set over all of a segment, over a part of it, and over more than it. The guest
/// sees the new pages, and the driver unpins the old ones.
pub fn other_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let old = GuestMemory::anonymous(16 * PAGE);
    old.number_pages(0x1000);
    let new = GuestMemory::anonymous(24 * PAGE);
    new.number_pages(0x2000);
    let page = PAGE as u64;
    // The first page and the number of pages, relative to the segment of 16 pages.
    for (first, pages) in [
        (0_i64, 16),
        (4, 3),
        (0, 1),
        (15, 1),
        (-4, 8),
        (12, 8),
        (-4, 24),
    ] {
        fixture.set(whole(&old)).expect("SET_MEMSEG");
        let start = GUEST.wrapping_add_signed(first * PAGE as i64);
        let part = ram(start, &new, 0, pages * PAGE);
        fixture.set(part).expect("SET_MEMSEG over the segment");
        let all = GUEST - 4 * page..GUEST + 20 * page;
        let mut present = 0;
        for address in all.clone().step_by(PAGE) {
            let index = (address as i64 - start as i64) / PAGE as i64;
            let expected = if address >= start && index < pages as i64 {
                Some(0x2000 + index as u64)
            } else if (GUEST..GUEST + 16 * page).contains(&address) {
                Some(0x1000 + (address - GUEST) / page)
            } else {
                None
            };
            present += i64::from(expected.is_some());
            let seen = fixture.probe.read_guest(fixture.vmid, address, 8);
            let expected = expected.map(|number: u64| number.to_le_bytes().to_vec());
            assert_eq!(
                seen, expected,
                "at {address:#x}, {pages} pages at {start:#x}"
            );
        }
        assert_eq!(fixture.pinned(), present, "{pages} pages at {start:#x}");
        fixture
            .unset(as_mmio(acrn_vm_memmap {
                user_vm_pa: all.start,
                len: all.end - all.start,
                ..part
            }))
            .expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// If a part is unset with either type, the rest stays mapped, pinned and charged.
pub fn part() -> Outcome {
    const PAGES: usize = 16;
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGES * PAGE);
    memory.number_pages(0x600);
    let before = locked();
    for (first, pages) in [(0, 1), (15, 1), (3, 5), (0, 15), (1, 15)] {
        for by_type in [std::convert::identity, as_mmio] {
            fixture.set(whole(&memory)).expect("SET_MEMSEG");
            let guest = GUEST + (first * PAGE) as u64;
            let part = ram(guest, &memory, first * PAGE, pages * PAGE);
            fixture.unset(by_type(part)).expect("UNSET_MEMSEG");
            for page in 0..PAGES {
                let address = GUEST + (page * PAGE) as u64;
                let seen = fixture.probe.read_guest(fixture.vmid, address, 8);
                let gone = (first..first + pages).contains(&page);
                let expected = (!gone).then(|| (0x600 + page as u64).to_le_bytes().to_vec());
                assert_eq!(seen, expected, "page {page}, without {pages} from {first}");
            }
            let left = PAGES - pages;
            assert_eq!(fixture.pinned(), left as i64);
            assert_eq!(locked() - before, (left * 4) as u64);
            let reported = Status::of(&fixture.device).number("mapped_bytes");
            assert_eq!(reported, (left * PAGE) as u64);
            fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
            fixture.assert_nothing_left();
        }
    }
    fixture.destroy();
    Outcome::Passed
}

/// If a part of memory in transparent huge pages, or of hugetlb memory, is unset, the driver splits
/// the segment inside a run.
pub fn part_of_huge_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for memory in [
        need!(GuestMemory::transparent_huge(2 * HUGE_PAGE)),
        need!(GuestMemory::huge(2 * HUGE_PAGE)),
    ] {
        memory.number_pages(0x700);
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        let hole = ram(GUEST + (5 * PAGE) as u64, &memory, 5 * PAGE, HUGE_PAGE);
        fixture.unset(hole).expect("UNSET_MEMSEG");
        let pages = 2 * HUGE_PAGE / PAGE;
        assert_eq!(fixture.pinned(), (pages - HUGE_PAGE / PAGE) as i64);
        let seen = |page: usize| {
            let address = GUEST + (page * PAGE) as u64;
            let bytes = fixture.probe.read_guest(fixture.vmid, address, 8)?;
            Some(u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
        };
        let shown = [4, 5, 516, 517, pages - 1].map(seen);
        let last = 0x700 + pages as u64 - 1;
        assert_eq!(
            shown,
            [Some(0x704), None, None, Some(0x700 + 517), Some(last)]
        );
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// Device memory is set over RAM, and RAM over the device memory. Each is unset with the type of
/// the other.
pub fn devices_and_memory() -> Outcome {
    /// The HPET, which every machine of QEMU has.
    const DEVICE: u64 = 0xfed0_0000;
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(4 * PAGE);
    memory.number_pages(0x800);
    let device = acrn_vm_memmap {
        user_vm_pa: GUEST + PAGE as u64,
        len: PAGE as u64,
        ..fixture.device_memory(DEVICE)
    };
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    for _ in 0..2 {
        fixture.set(device).expect("SET_MEMSEG of a device");
        let query = fixture.probe.mapping(fixture.vmid, device.user_vm_pa);
        assert_eq!(query.service_vm_pa, DEVICE);
        assert_eq!(fixture.pinned(), 3);
    }
    fixture
        .set(whole(&memory))
        .expect("SET_MEMSEG over the device");
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    assert_eq!(fixture.pinned(), 4);
    fixture.set(device).expect("SET_MEMSEG of a device");
    let as_ram = ram(device.user_vm_pa, &memory, PAGE, PAGE);
    fixture.unset(as_ram).expect("UNSET_MEMSEG");
    assert_eq!(fixture.mapped_bytes(), 3 * PAGE as u64);
    fixture
        .unset(as_mmio(whole(&memory)))
        .expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    // The driver leaves memory that it has not set to the hypervisor.
    let trace = Trace::start(&fixture.probe);
    assert_eq!(fixture.unset(as_mmio(whole(&memory))), Err(Errno::EINVAL));
    assert_eq!(trace.ids().len(), 1, "hypercalls");
    assert_eq!(fixture.unset(whole(&memory)), Err(Errno::EINVAL));
    assert_eq!(trace.ids().len(), 1, "hypercalls");
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor refuses the new memory, neither memory is mapped. If it refuses to delete the
/// old memory, the old memory stays.
pub fn other_pages_refused() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let old = GuestMemory::anonymous(4 * PAGE);
    old.number_pages(0x900);
    let new = GuestMemory::anonymous(4 * PAGE);
    new.number_pages(0xa00);
    fixture.set(whole(&old)).expect("SET_MEMSEG");
    fixture.fail_regions(0, 0, 1, -1);
    assert_eq!(fixture.set(whole(&new)), Err(Errno::EPERM));
    fixture.assert_shows(GUEST, &old, 0, old.len());
    assert_eq!(fixture.pinned(), 4);
    fixture.fail_regions(1, 0, 1, -1);
    let trace = Trace::start(&fixture.probe);
    assert_eq!(fixture.set(whole(&new)), Err(Errno::EPERM));
    let deleted = trace.regions();
    assert_eq!(deleted[0].type_, MemoryRegion::DELETE);
    fixture.assert_nothing_left();
    fixture.set(whole(&new)).expect("SET_MEMSEG");
    fixture.assert_shows(GUEST, &new, 0, new.len());
    fixture.destroy();
    Outcome::Passed
}

/// Unknown attribute bits do not make a segment different.
pub fn same_but_for_bits() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGE);
    memory.number_pages(1);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let trace = Trace::start(&fixture.probe);
    for attr in [ACRN_MEM_ACCESS_RWX, !0] {
        let segment = acrn_vm_memmap {
            attr,
            ..whole(&memory)
        };
        fixture.set(segment).expect("SET_MEMSEG");
    }
    trace.assert_no_hypercalls();
    fixture.destroy();
    Outcome::Passed
}

/// If a longer segment of the same pages is set over shorter ones, all of it is mapped afterwards.
pub fn same_but_longer() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(8 * PAGE);
    memory.number_pages(0xb00);
    let at = |page: usize, pages: usize| {
        let guest = GUEST + (page * PAGE) as u64;
        ram(guest, &memory, page * PAGE, pages * PAGE)
    };
    for (first, pages) in [(0, 4), (4, 4), (2, 3)] {
        fixture.set(at(first, pages)).expect("SET_MEMSEG");
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        fixture.assert_shows(GUEST, &memory, 0, memory.len());
        // The same applies to a segment with a hole.
        fixture.unset(at(first, pages)).expect("UNSET_MEMSEG");
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        fixture.assert_shows(GUEST, &memory, 0, memory.len());
        assert_eq!(fixture.pinned(), 8);
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// The same pages at two guest addresses can be unset separately, in either order.
pub fn same_pages_twice() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(4 * PAGE);
    memory.number_pages(0xc00);
    let places = [GUEST, 4 * GUEST];
    for first in [0, 1] {
        for place in places {
            fixture
                .set(ram(place, &memory, 0, memory.len()))
                .expect("SET_MEMSEG");
        }
        assert_eq!(fixture.pinned(), 8);
        let (gone, left) = (places[first], places[1 - first]);
        fixture
            .unset(ram(gone, &memory, 0, memory.len()))
            .expect("UNSET_MEMSEG");
        fixture.assert_shows(left, &memory, 0, memory.len());
        assert_eq!(fixture.pinned(), 4);
        fixture
            .unset(ram(left, &memory, 0, memory.len()))
            .expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// If a page of device memory is unset, the driver still knows the rest.
pub fn part_of_a_device() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = PAGE as u64;
    let device = |at: u64, source: u64, pages: u64| acrn_vm_memmap {
        user_vm_pa: GUEST + at * page,
        len: pages * page,
        ..fixture.device_memory(FIRMWARE + source * page)
    };
    let shows = |at: u64| {
        let query = fixture.probe.mapping(fixture.vmid, GUEST + at * page);
        (query.mapped == 1).then(|| (query.service_vm_pa - FIRMWARE) / page)
    };
    fixture.set(device(0, 0, 4)).expect("SET_MEMSEG");
    fixture.unset(device(1, 0, 1)).expect("UNSET_MEMSEG");
    assert_eq!([0, 1, 2, 3].map(shows), [Some(0), None, Some(2), Some(3)]);
    let trace = Trace::start(&fixture.probe);
    fixture
        .set(device(2, 2, 2))
        .expect("SET_MEMSEG of the same memory");
    trace.assert_no_hypercalls();
    fixture
        .set(device(2, 0, 2))
        .expect("SET_MEMSEG of other memory");
    assert_eq!([0, 1, 2, 3].map(shows), [Some(0), None, Some(0), Some(1)]);
    fixture.destroy();
    Outcome::Passed
}
