// SPDX-License-Identifier: GPL-2.0

//! Memory of every kind is mapped as it is, all of it and nothing else.

use acrn_selftests::{
    area::{Area, HUGE_PAGE, PAGE},
    harness::Outcome,
    need,
    trace::Trace,
};
use acrn_uapi::*;
use nix::{errno::Errno, sys::mman::MmapAdvise};

use acrn_selftests::bench::{
    ALL_RIGHTS, Bench, GUEST, assert_contiguous, check_mapping, ram, scattered, whole,
};

/// Anonymous memory in pages of 4 KiB; what the guest writes, the device model sees.
pub fn small_pages() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(64 * PAGE);
    area.number_pages(0x1000);
    check_mapping(&bench, &area);
    let value = 0x0123_4567_89ab_cdef_u64;
    bench.probe.write_guest(
        bench.vmid,
        GUEST + 7 * PAGE as u64 + 8,
        &value.to_le_bytes(),
    );
    assert_eq!(area.read::<u64>(7 * PAGE + 8), value);
    bench.destroy();
    Outcome::Passed
}

/// RAM is cached, and has the access rights that were asked for.
pub fn attributes() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(2 * PAGE);
    area.number_pages(1);
    let read_only = acrn_vm_memmap {
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_READ,
        ..ram(GUEST, &area, 0, PAGE)
    };
    let all = GUEST + PAGE as u64;
    bench.set(read_only).expect("SET_MEMSEG");
    bench.set(ram(all, &area, PAGE, PAGE)).expect("SET_MEMSEG");

    let query = bench.probe.mapping(bench.vmid, GUEST);
    assert_eq!((query.mapped, query.writable, query.executable), (1, 0, 0));
    assert_eq!(query.mem_type, u64::from(ACRN_MEM_TYPE_WB));
    let query = bench.probe.mapping(bench.vmid, all);
    assert_eq!((query.mapped, query.writable, query.executable), (1, 1, 1));
    assert_eq!(query.mem_type, u64::from(ACRN_MEM_TYPE_WB));
    bench.destroy();
    Outcome::Passed
}

/// Transparent huge pages go to the hypervisor as a whole.
pub fn transparent_huge_pages() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(Area::transparent_huge(HUGE_PAGE));
    area.number_pages(0x2000);
    let regions = check_mapping(&bench, &area);
    assert_eq!(regions.len(), 1, "{regions:#x?}");
    bench.destroy();
    Outcome::Passed
}

/// Of a huge page only the part that was named is mapped, wherever it begins (A6).
pub fn part_of_huge_page() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(Area::transparent_huge(HUGE_PAGE));
    area.number_pages(0x3000);
    for (page, pages) in [(0, 1), (5, 1), (511, 1), (3, 17)] {
        let (offset, len) = (page * PAGE, pages * PAGE);
        let trace = Trace::start(&bench.probe);
        bench
            .set(ram(GUEST, &area, offset, len))
            .expect("SET_MEMSEG");
        assert_contiguous(&trace.regions(), GUEST, len);
        bench.assert_shows(GUEST, &area, offset, len);
        bench
            .unset(ram(GUEST, &area, offset, len))
            .expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// A mapping that begins with a huge page of which some pages have been replaced by others (A6).
pub fn huge_page_with_other_pages() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(Area::transparent_huge(HUGE_PAGE));
    area.number_pages(0x4000);
    let other = Area::anonymous(2 * PAGE);
    other.number_pages(0x4444_0000);
    area.move_page(9 * PAGE, &other, 0);
    area.move_page(400 * PAGE, &other, PAGE);
    check_mapping(&bench, &area);
    bench.destroy();
    Outcome::Passed
}

/// Huge pages of hugetlbfs.
pub fn hugetlb() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(Area::huge(2 * HUGE_PAGE));
    area.number_pages(0x5000);
    let regions = check_mapping(&bench, &area);
    assert!(regions.len() <= 2, "{regions:#x?}");
    bench.destroy();
    Outcome::Passed
}

/// A part of hugetlbfs memory (A6).
pub fn part_of_hugetlb() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(Area::huge(2 * HUGE_PAGE));
    area.number_pages(0x6000);
    // The last page of the first huge page and the first of the second.
    let offset = HUGE_PAGE - PAGE;
    bench
        .set(ram(GUEST, &area, offset, 2 * PAGE))
        .expect("SET_MEMSEG");
    bench.assert_shows(GUEST, &area, offset, 2 * PAGE);
    bench.destroy();
    Outcome::Passed
}

/// Shared memory.
pub fn shared_memory() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::shared(64 * PAGE);
    area.number_pages(0x7000);
    check_mapping(&bench, &area);
    bench.destroy();
    Outcome::Passed
}

/// Memory that nobody has touched yet is there for the guest.
pub fn untouched_memory() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(16 * PAGE);
    check_mapping(&bench, &area);
    bench.destroy();
    Outcome::Passed
}

/// Pages that are nowhere near each other: more than one batch of them.
pub fn scattered_pages() -> Outcome {
    let bench = need!(Bench::new());
    let area = scattered(1500);
    check_mapping(&bench, &area);
    bench.destroy();
    Outcome::Passed
}

/// A hole in the mapping: refused, and nothing of it stays.
pub fn hole() -> Outcome {
    let bench = need!(Bench::new());
    for page in [0, 31, 63] {
        let area = Area::anonymous(64 * PAGE);
        area.number_pages(0x8000);
        area.unmap(page * PAGE, PAGE);
        let trace = Trace::start(&bench.probe);
        assert_eq!(bench.set(whole(&area)), Err(Errno::EFAULT), "page {page}");
        assert_eq!(trace.ids(), [], "hypercalls");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// The guest keeps its memory when the device model unmaps or drops it.
pub fn outlives_its_mapping() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(4 * PAGE);
    area.number_pages(0x9000);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    area.advise(MmapAdvise::MADV_DONTNEED);
    drop(area);
    // Whoever gets new pages now must not get these.
    let other = Area::anonymous(256 * PAGE);
    other.number_pages(0xffff_0000);
    let seen = bench.probe.read_guest(bench.vmid, GUEST + PAGE as u64, 8);
    assert_eq!(seen.as_deref(), Some(&0x9001_u64.to_le_bytes()[..]));
    bench.destroy();
    Outcome::Passed
}

/// Device memory, uncached whatever was asked for, and taken away again.
pub fn mmio() -> Outcome {
    /// The HPET: there in every machine of QEMU's.
    const DEVICE: u64 = 0xfed0_0000;
    let bench = need!(Bench::new());
    let segment = acrn_vm_memmap {
        type_: ACRN_MEMMAP_MMIO,
        attr: ACRN_MEM_TYPE_WB | ALL_RIGHTS,
        user_vm_pa: 0xd000_0000,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
            service_vm_pa: DEVICE,
        },
        len: PAGE as u64,
    };
    let trace = Trace::start(&bench.probe);
    bench.set(segment).expect("SET_MEMSEG");
    assert_contiguous(&trace.regions(), 0xd000_0000, PAGE);
    let query = bench.probe.mapping(bench.vmid, 0xd000_0000);
    assert_eq!((query.mapped, query.writable), (1, 1));
    assert_eq!(query.service_vm_pa, DEVICE);
    assert_eq!(query.mem_type, u64::from(ACRN_MEM_TYPE_UC));
    assert_eq!(bench.pinned(), 0);

    bench.unset(segment).expect("UNSET_MEMSEG");
    assert_eq!(bench.probe.mapping(bench.vmid, 0xd000_0000).mapped, 0);
    bench.destroy();
    Outcome::Passed
}
