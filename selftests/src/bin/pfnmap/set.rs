// SPDX-License-Identifier: GPL-2.0

//! SET_MEMSEG of such memory: what is mapped, and what is refused.

use std::fs;

use acrn_selftests::{
    area::{Area, PAGE},
    bench::{ALL_RIGHTS, Bench, GUEST, assert_contiguous, ram, whole},
    harness::Outcome,
    need,
    probe::fault,
    skip,
    trace::{Region, Trace},
};
use acrn_uapi::*;
use nix::errno::Errno;

use crate::physical::{FIRMWARE, HPET, NOWHERE, map};

/// All of it, as it lies in physical memory, cached; and nothing is pinned.
pub fn whole_area() -> Outcome {
    const PAGES: usize = 16;
    let bench = need!(Bench::new());
    let area = need!(map(NOWHERE, PAGES * PAGE));
    let trace = Trace::start(&bench.probe);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    let regions = trace.regions();
    assert_contiguous(&regions, GUEST, area.len());
    for region in &regions {
        assert_eq!(region.service_vm_pa, NOWHERE + region.user_vm_pa - GUEST);
        assert_eq!(region.attr, ACRN_MEM_TYPE_WB | ALL_RIGHTS);
    }
    assert_eq!(bench.mapped_bytes(), area.len() as u64);
    let last = GUEST + (area.len() - PAGE) as u64;
    let query = bench.probe.mapping(bench.vmid, last);
    assert_eq!((query.mapped, query.writable), (1, 1));
    assert_eq!(query.service_vm_pa, NOWHERE + (area.len() - PAGE) as u64);
    assert_eq!(query.mem_type, u64::from(ACRN_MEM_TYPE_WB));
    assert_eq!(bench.pinned(), 0);
    bench.destroy();
    Outcome::Passed
}

/// UNSET_MEMSEG takes it away, and then it can be set again (A17).
pub fn unset() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(NOWHERE, 4 * PAGE));
    for _ in 0..2 {
        bench.set(whole(&area)).expect("SET_MEMSEG");
        let trace = Trace::start(&bench.probe);
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        let regions = trace.regions();
        assert_eq!(regions.len(), 1, "{regions:#x?}");
        assert_eq!(regions[0].operation, Region::DELETE);
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// The guest sees the device that this process sees.
pub fn device_registers() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(HPET, PAGE));
    bench.set(whole(&area)).expect("SET_MEMSEG");
    // Capabilities and id, which never change.
    let seen = bench.probe.read_guest(bench.vmid, GUEST, 8);
    assert_eq!(
        seen.as_deref(),
        Some(&area.read::<u64>(0).to_le_bytes()[..])
    );
    bench.destroy();
    Outcome::Passed
}

/// Memory that the kernel has pages for, but never gives to anybody.
pub fn reserved_pages() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(FIRMWARE, 2 * PAGE));
    bench.set(whole(&area)).expect("SET_MEMSEG");
    let query = bench.probe.mapping(bench.vmid, GUEST + PAGE as u64);
    assert_eq!(query.service_vm_pa, FIRMWARE + PAGE as u64);
    bench.destroy();
    Outcome::Passed
}

/// Some pages from the middle.
pub fn part_of_area() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(NOWHERE, 16 * PAGE));
    let part = ram(GUEST, &area, 3 * PAGE, 5 * PAGE);
    let trace = Trace::start(&bench.probe);
    bench.set(part).expect("SET_MEMSEG");
    let regions = trace.regions();
    assert_contiguous(&regions, GUEST, 5 * PAGE);
    assert_eq!(regions[0].service_vm_pa, NOWHERE + 3 * PAGE as u64);
    assert_eq!(bench.mapped_bytes(), 5 * PAGE as u64);
    bench.destroy();
    Outcome::Passed
}

/// Panics unless `segment` is refused with `error`, and the hypervisor is told nothing.
fn assert_refused(bench: &Bench, segment: acrn_vm_memmap, error: Errno) {
    let trace = Trace::start(&bench.probe);
    let refused = bench.set(segment);
    assert_eq!(refused, Err(error), "length {:#x}", segment.len);
    assert_eq!(trace.ids(), [], "hypercalls");
    bench.assert_nothing_left();
}

/// More than there is: behind it is nothing, or something else.
pub fn beyond_its_end() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(NOWHERE, 4 * PAGE));
    let other = Area::anonymous(PAGE);
    other.number_pages(1);
    let longer = |len: usize| acrn_vm_memmap {
        len: len as u64,
        ..whole(&area)
    };
    for len in [5 * PAGE, 64 * PAGE, 1 << 30] {
        assert_refused(&bench, longer(len), Errno::EINVAL);
    }
    // Its last page becomes one of anonymous memory.
    area.move_page(3 * PAGE, &other, 0);
    assert_refused(&bench, longer(4 * PAGE), Errno::EINVAL);
    bench.set(longer(3 * PAGE)).expect("SET_MEMSEG");
    bench.destroy();
    Outcome::Passed
}

/// Anonymous memory first, then such memory: what cannot be pinned is refused.
pub fn mixed_with_memory() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(2 * PAGE);
    area.number_pages(1);
    area.move_page(PAGE, &need!(map(NOWHERE, PAGE)), 0);
    assert_refused(&bench, whole(&area), Errno::EFAULT);
    bench.destroy();
    Outcome::Passed
}

/// One area, whose pages are not one behind the other in physical memory.
pub fn not_contiguous() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(NOWHERE, 4 * PAGE));
    let elsewhere = need!(map(NOWHERE + 0x100_0000, PAGE));
    area.move_page(2 * PAGE, &elsewhere, 0);
    // The kernel has three areas now, and says so in its way.
    assert_refused(&bench, whole(&area), Errno::EINVAL);
    bench.destroy();
    Outcome::Passed
}

/// Lengths whose number of pages is small, or negative, in 32 bits; or that go around (A7).
pub fn truncating_lengths() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(NOWHERE, 4 * PAGE));
    let around = area.address().wrapping_neg();
    for len in [
        (1 << 44) + 0x1000,
        (1 << 45) + 0x2000,
        (1 << 62) + 0x1000,
        1 << 63,
        u64::MAX - 0xfff,
        u64::MAX - 0x1fff,
        around + 0x1000,
        around + 0xffff_0000,
    ] {
        let segment = acrn_vm_memmap {
            len,
            ..whole(&area)
        };
        assert_refused(&bench, segment, Errno::EINVAL);
    }
    bench.destroy();
    Outcome::Passed
}

/// What the process may not write, the guest does not get to write.
pub fn read_only() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(NOWHERE, 2 * PAGE));
    area.protect();
    assert_refused(&bench, whole(&area), Errno::EFAULT);
    let readable = acrn_vm_memmap {
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_READ,
        ..whole(&area)
    };
    bench.set(readable).expect("SET_MEMSEG");
    let query = bench.probe.mapping(bench.vmid, GUEST);
    assert_eq!((query.mapped, query.writable), (1, 0));
    bench.destroy();
    Outcome::Passed
}

/// The kernel's ordinary memory through `/dev/mem`: its pages may be freed and given to others.
pub fn counted_memory() -> Outcome {
    let bench = need!(Bench::new());
    let page = Area::anonymous(PAGE);
    page.number_pages(0x1234);
    let area = need!(map(need!(page.physical_address()), PAGE));
    assert_eq!(area.read::<u64>(0), 0x1234, "the same page");
    assert_refused(&bench, whole(&area), Errno::EFAULT);
    bench.destroy();
    Outcome::Passed
}

/// The same behind memory that is none of the kernel's.
pub fn counted_memory_behind() -> Outcome {
    /// `Documentation/admin-guide/mm/pagemap.rst` of the kernel: no such page; and one that is reserved.
    const UNCOUNTED: u64 = 1 << 20 | 1 << 32;
    let bench = need!(Bench::new());
    let flags = need!(fs::read("/proc/kpageflags").map_err(|error| error.to_string()));
    let (flags, _) = flags.as_chunks::<8>();
    let counted: Vec<_> = flags
        .iter()
        .map(|flags| u64::from_le_bytes(*flags) & UNCOUNTED == 0)
        .collect();
    let place = counted.windows(2).position(|pages| pages == [false, true]);
    let Some(place) = place else {
        skip!("no memory of the kernel's is behind other memory");
    };
    let area = need!(map((place * PAGE) as u64, 2 * PAGE));
    bench.set(ram(GUEST, &area, 0, PAGE)).expect("SET_MEMSEG");
    bench
        .unset(ram(GUEST, &area, 0, PAGE))
        .expect("UNSET_MEMSEG");
    assert_refused(&bench, whole(&area), Errno::EFAULT);
    bench.destroy();
    Outcome::Passed
}

/// The hypervisor refuses: its word is passed on, and nothing is left to be taken away.
pub fn refused() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(map(NOWHERE, 2 * PAGE));
    for errno in [Errno::EINVAL, Errno::EPERM] {
        let result = -i64::from(errno as i32);
        let id = acrn_selftests::hypercall::SET_MEMORY_REGIONS;
        bench.probe.push_fault(fault(id, result));
        assert_eq!(bench.set(whole(&area)), Err(errno));
        bench.assert_nothing_left();
    }
    drop(area);
    let area = need!(map(NOWHERE, 2 * PAGE));
    bench.set(whole(&area)).expect("SET_MEMSEG");
    bench.destroy();
    Outcome::Passed
}
