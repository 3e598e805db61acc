// SPDX-License-Identifier: GPL-2.0

//! Tests of SET_MEMSEG for memory without kernel pages: mappings and refusals.

use std::fs;

use acrn_hypercall_abi::MemoryRegion;
use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{GUEST, MappingFixture, assert_contiguous, ram, whole},
    need,
    probe::fault,
    skip,
    status::Status,
    trace::Trace,
};
use acrn_uapi::*;
use nix::errno::Errno;

use crate::physical::{FIRMWARE, HPET, NOWHERE, assert_absent, map};

/// All of the memory is mapped as it lies in physical memory, with write-back caching, and no page
/// is pinned.
pub fn whole_area() -> Outcome {
    const PAGES: usize = 16;
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, PAGES * PAGE));
    let trace = Trace::start(&fixture.probe);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let regions = trace.regions();
    assert_contiguous(&regions, GUEST, memory.len());
    for region in &regions {
        assert_eq!(region.service_vm_pa, NOWHERE + region.user_vm_pa - GUEST);
        assert_eq!(region.attr, ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_RWX);
    }
    assert_eq!(fixture.mapped_bytes(), memory.len() as u64);
    let last = GUEST + (memory.len() - PAGE) as u64;
    let query = fixture.probe.mapping(fixture.vmid, last);
    assert_eq!((query.mapped, query.writable), (1, 1));
    assert_eq!(query.service_vm_pa, NOWHERE + (memory.len() - PAGE) as u64);
    assert_eq!(query.mem_type, u64::from(ACRN_MEM_TYPE_WB));
    assert_eq!(fixture.pinned(), 0);
    fixture.destroy();
    Outcome::Passed
}

/// A guest with a secure world could move the memory there, where the driver does not find it when
/// the process unmaps it. So the memory is refused.
pub fn with_secure_world() -> Outcome {
    let fixture = need!(MappingFixture::with_secure_world());
    let memory = need!(map(NOWHERE, 4 * PAGE));
    assert_refused(&fixture, whole(&memory), Errno::EOPNOTSUPP);
    fixture.destroy();
    Outcome::Passed
}

/// UNSET_MEMSEG unmaps the memory. Afterwards it can be set again (A17).
pub fn unset() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 4 * PAGE));
    for _ in 0..2 {
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        let trace = Trace::start(&fixture.probe);
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        let regions = trace.regions();
        assert_eq!(regions.len(), 1, "{regions:#x?}");
        assert_eq!(regions[0].type_, MemoryRegion::DELETE);
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// The guest sees the same device registers as this process.
pub fn device_registers() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(HPET, PAGE));
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    // The register with capabilities and ID, which never changes.
    let seen = fixture.probe.read_guest(fixture.vmid, GUEST, 8);
    assert_eq!(
        seen.as_deref(),
        Some(&memory.read::<u64>(0).to_le_bytes()[..])
    );
    fixture.destroy();
    Outcome::Passed
}

/// Memory whose pages the kernel never allocates can be set.
pub fn reserved_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(FIRMWARE, 2 * PAGE));
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let query = fixture.probe.mapping(fixture.vmid, GUEST + PAGE as u64);
    assert_eq!(query.service_vm_pa, FIRMWARE + PAGE as u64);
    fixture.destroy();
    Outcome::Passed
}

/// A part from the middle of the mapping can be set.
pub fn part_of_area() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 16 * PAGE));
    let part = ram(GUEST, &memory, 3 * PAGE, 5 * PAGE);
    let trace = Trace::start(&fixture.probe);
    fixture.set(part).expect("SET_MEMSEG");
    let regions = trace.regions();
    assert_contiguous(&regions, GUEST, 5 * PAGE);
    assert_eq!(regions[0].service_vm_pa, NOWHERE + 3 * PAGE as u64);
    assert_eq!(fixture.mapped_bytes(), 5 * PAGE as u64);
    fixture.destroy();
    Outcome::Passed
}

/// Panics unless SET_MEMSEG refuses `segment` with `error` and without a hypercall.
#[track_caller]
fn assert_refused(fixture: &MappingFixture, segment: acrn_vm_memmap, error: Errno) {
    let trace = Trace::start(&fixture.probe);
    let refused = fixture.set(segment);
    assert_eq!(refused, Err(error), "length {:#x}", segment.len);
    trace.assert_no_hypercalls();
    fixture.assert_nothing_left();
}

/// A range that extends beyond the end of the mapping is refused, whether other memory follows or
/// not.
pub fn beyond_its_end() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 4 * PAGE));
    let other = GuestMemory::anonymous(PAGE);
    other.number_pages(1);
    let longer = |len: usize| acrn_vm_memmap {
        len: len as u64,
        ..whole(&memory)
    };
    for len in [5 * PAGE, 64 * PAGE, 1 << 30] {
        assert_refused(&fixture, longer(len), Errno::EINVAL);
    }
    // The last page becomes a page of anonymous memory.
    memory.move_page(3 * PAGE, &other, 0);
    assert_refused(&fixture, longer(4 * PAGE), Errno::EINVAL);
    fixture.set(longer(3 * PAGE)).expect("SET_MEMSEG");
    fixture.destroy();
    Outcome::Passed
}

/// Anonymous memory that is followed by memory without kernel pages is refused, because the latter
/// cannot be pinned.
pub fn mixed_with_memory() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(2 * PAGE);
    memory.number_pages(1);
    memory.move_page(PAGE, &need!(map(NOWHERE, PAGE)), 0);
    assert_refused(&fixture, whole(&memory), Errno::EFAULT);
    fixture.destroy();
    Outcome::Passed
}

/// A mapping whose pages are not physically contiguous is refused.
pub fn not_contiguous() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 4 * PAGE));
    let elsewhere = need!(map(NOWHERE + 0x100_0000, PAGE));
    memory.move_page(2 * PAGE, &elsewhere, 0);
    // The kernel has split the mapping in three, so the error is `EINVAL`.
    assert_refused(&fixture, whole(&memory), Errno::EINVAL);
    fixture.destroy();
    Outcome::Passed
}

/// Lengths that are small or negative numbers of pages in 32 bits, or that wrap around (A7), are
/// refused.
pub fn truncating_lengths() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 4 * PAGE));
    let around = memory.address().wrapping_neg();
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
            ..whole(&memory)
        };
        assert_refused(&fixture, segment, Errno::EINVAL);
    }
    fixture.destroy();
    Outcome::Passed
}

/// The guest gets no write access to memory that the process cannot write.
pub fn read_only() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 2 * PAGE));
    memory.protect();
    assert_refused(&fixture, whole(&memory), Errno::EFAULT);
    let readable = acrn_vm_memmap {
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_READ,
        ..whole(&memory)
    };
    fixture.set(readable).expect("SET_MEMSEG");
    let query = fixture.probe.mapping(fixture.vmid, GUEST);
    assert_eq!((query.mapped, query.writable), (1, 0));
    fixture.destroy();
    Outcome::Passed
}

/// The kernel's ordinary memory that is mapped through `/dev/mem` is refused, because the kernel
/// may free and reuse its pages.
pub fn counted_memory() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = GuestMemory::anonymous(PAGE);
    page.number_pages(0x1234);
    let memory = need!(map(need!(page.physical_address()), PAGE));
    assert_eq!(
        memory.read::<u64>(0),
        0x1234,
        "word of the page through /dev/mem"
    );
    assert_refused(&fixture, whole(&memory), Errno::EFAULT);
    fixture.destroy();
    Outcome::Passed
}

/// Ordinary memory of the kernel is refused even if it follows memory that does not belong to the
/// kernel.
pub fn counted_memory_behind() -> Outcome {
    /// No page, or a reserved page: flags of `Documentation/admin-guide/mm/pagemap.rst` of the
    /// kernel.
    const UNCOUNTED: u64 = 1 << 20 | 1 << 32;
    let fixture = need!(MappingFixture::new());
    let flags = need!(fs::read("/proc/kpageflags").map_err(|error| error.to_string()));
    let (flags, _) = flags.as_chunks::<8>();
    let counted: Vec<_> = flags
        .iter()
        .map(|flags| u64::from_le_bytes(*flags) & UNCOUNTED == 0)
        .collect();
    let place = counted.windows(2).position(|pages| pages == [false, true]);
    let Some(place) = place else {
        skip!("no memory of the kernel follows other memory");
    };
    let memory = need!(map((place * PAGE) as u64, 2 * PAGE));
    fixture
        .set(ram(GUEST, &memory, 0, PAGE))
        .expect("SET_MEMSEG");
    fixture
        .unset(ram(GUEST, &memory, 0, PAGE))
        .expect("UNSET_MEMSEG");
    assert_refused(&fixture, whole(&memory), Errno::EFAULT);
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor fails after it has mapped the memory, the guest does not keep the memory, nor
/// gets it when the process unmaps it (A5).
pub fn half_way() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 2 * PAGE));
    fixture.fail_regions(0, 1, 1, -5);
    assert_eq!(fixture.set(whole(&memory)), Err(Errno::EIO));
    let before = fixture.mapped_bytes();
    drop(memory);
    assert_absent(&fixture, 0);
    assert_absent(&fixture, 1);
    assert_eq!(before, 0, "bytes that were mapped before munmap");
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor refuses to unmap the memory after such a failure, the guest loses it when the
/// process unmaps it, or at UNSET_MEMSEG.
pub fn roll_back_fails() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for unset in [false, true] {
        let memory = need!(map(NOWHERE, 2 * PAGE));
        fixture.fail_regions(0, 1, 1, -5);
        fixture.fail_regions(0, 0, u32::MAX, -1);
        assert_eq!(fixture.set(whole(&memory)), Err(Errno::EIO));
        fixture.probe.clear_faults();
        assert_eq!(fixture.mapped_bytes(), memory.len() as u64);
        let reported = Status::of(&fixture.device).number("mapped_bytes");
        assert_eq!(reported, memory.len() as u64);
        if unset {
            fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        } else {
            drop(memory);
        }
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// The driver passes on a refusal by the hypervisor, and leaves no notifier behind.
pub fn refused() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 2 * PAGE));
    for errno in [Errno::EINVAL, Errno::EPERM] {
        let result = -i64::from(errno as i32);
        let id = acrn_selftests::hypercall::SET_MEMORY_REGIONS;
        fixture.probe.push_fault(fault(id, result));
        assert_eq!(fixture.set(whole(&memory)), Err(errno));
        fixture.assert_nothing_left();
    }
    drop(memory);
    let memory = need!(map(NOWHERE, 2 * PAGE));
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture.destroy();
    Outcome::Passed
}
