// SPDX-License-Identifier: GPL-2.0

//! SET_MEMSEG and UNSET_MEMSEG with invalid segments (A7).

use acrn_selftests::{
    device::Argument,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{GUEST, MappingFixture, ram, whole},
    need,
    trace::Trace,
};
use acrn_uapi::*;
use nix::errno::Errno;

/// Returns a segment with these values.
fn segment(kind: u32, guest: u64, address: u64, len: u64) -> acrn_vm_memmap {
    acrn_vm_memmap {
        type_: kind,
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_RIGHT_MASK,
        user_vm_pa: guest,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 { vma_base: address },
        len,
    }
}

/// Panics unless both commands refuse all of `segments` with `EINVAL` and make no hypercall.
#[track_caller]
fn assert_refused(fixture: &MappingFixture, segments: &[acrn_vm_memmap]) {
    let trace = Trace::start(&fixture.probe);
    for segment in segments {
        let what = format!(
            "type {}, guest {:#x}, length {:#x}",
            segment.type_, segment.user_vm_pa, segment.len
        );
        assert_eq!(fixture.set(*segment), Err(Errno::EINVAL), "SET: {what}");
        assert_eq!(fixture.unset(*segment), Err(Errno::EINVAL), "UNSET: {what}");
    }
    trace.assert_no_hypercalls();
    fixture.assert_nothing_left();
}

/// Addresses and lengths that are not multiples of the page size.
pub fn segment_misaligned() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(4 * PAGE);
    let address = memory.address();
    let page = PAGE as u64;
    for kind in [ACRN_MEMMAP_RAM, ACRN_MEMMAP_MMIO] {
        for off in [1, 8, 0x800, 0xfff] {
            assert_refused(
                &fixture,
                &[
                    segment(kind, GUEST + off, address, page),
                    segment(kind, GUEST, address, page + off),
                    segment(kind, GUEST, address, off),
                ],
            );
            let unaligned = segment(kind, GUEST, address + off, page);
            assert_eq!(
                fixture.set(unaligned),
                Err(Errno::EINVAL),
                "address + {off}"
            );
            fixture.assert_nothing_left();
        }
    }
    fixture.destroy();
    Outcome::Passed
}

/// Segments with a length of 0.
pub fn segment_empty() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGE);
    assert_refused(
        &fixture,
        &[
            segment(ACRN_MEMMAP_RAM, GUEST, memory.address(), 0),
            segment(ACRN_MEMMAP_MMIO, GUEST, 0xfed0_0000, 0),
            segment(ACRN_MEMMAP_RAM, 0, 0, 0),
        ],
    );
    fixture.destroy();
    Outcome::Passed
}

/// Ranges that wrap around the end of the guest's or the caller's address space.
pub fn segment_wrapping() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(2 * PAGE);
    let last = u64::MAX - 0xfff;
    for kind in [ACRN_MEMMAP_RAM, ACRN_MEMMAP_MMIO] {
        assert_refused(
            &fixture,
            &[
                segment(kind, last, memory.address(), 2 * PAGE as u64),
                segment(kind, GUEST, memory.address(), last),
                segment(kind, 2 * PAGE as u64, PAGE as u64, last),
            ],
        );
        let source = segment(kind, GUEST, last, 2 * PAGE as u64);
        assert_eq!(fixture.set(source), Err(Errno::EINVAL));
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// Lengths that exceed all memory, some of which have a small number of pages in 32 bits.
pub fn segment_huge() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(16 * PAGE);
    memory.number_pages(1);
    let trace = Trace::start(&fixture.probe);
    for len in [
        1 << 40,
        (1 << 44) + 0x1000,
        (1 << 45) + 0x2000,
        (1 << 62) + 0x1000,
    ] {
        let refused = fixture.set(segment(ACRN_MEMMAP_RAM, GUEST, memory.address(), len));
        // The order of the driver's checks is not specified.
        let errors = [Errno::EFAULT, Errno::EINVAL, Errno::ENOMEM];
        assert!(
            refused.is_err_and(|error| errors.contains(&error)),
            "length {len:#x}: {refused:?}"
        );
        fixture.assert_nothing_left();
    }
    trace.assert_no_hypercalls();
    fixture.destroy();
    Outcome::Passed
}

/// Unknown types.
pub fn segment_unknown_type() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGE);
    let segments =
        [2, 3, 0x100, u32::MAX].map(|kind| segment(kind, GUEST, memory.address(), PAGE as u64));
    assert_refused(&fixture, &segments);
    fixture.destroy();
    Outcome::Passed
}

/// Memory that the caller cannot write to, or that does not exist, is refused as RAM.
pub fn segment_not_the_callers() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let read_only = GuestMemory::anonymous(4 * PAGE);
    read_only.number_pages(1);
    read_only.protect();
    let Argument::Number(kernel) = Argument::KERNEL else {
        unreachable!("KERNEL is a number");
    };
    let trace = Trace::start(&fixture.probe);
    assert_eq!(fixture.set(whole(&read_only)), Err(Errno::EFAULT));
    for address in [0, kernel, 1 << 63, u64::MAX - 0x1_ffff] {
        let refused = fixture.set(segment(ACRN_MEMMAP_RAM, GUEST, address, PAGE as u64));
        assert_eq!(refused, Err(Errno::EFAULT), "{address:#x}");
    }
    trace.assert_no_hypercalls();
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// A segment of which only the last page is not writable.
pub fn segment_partly_read_only() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(64 * PAGE);
    memory.number_pages(1);
    let read_only = GuestMemory::anonymous(PAGE);
    read_only.number_pages(1);
    read_only.protect();
    memory.move_page(63 * PAGE, &read_only, 0);
    let trace = Trace::start(&fixture.probe);
    assert_eq!(fixture.set(whole(&memory)), Err(Errno::EFAULT));
    trace.assert_no_hypercalls();
    fixture.assert_nothing_left();
    // All pages but the last one can be set.
    fixture
        .set(ram(GUEST, &memory, 0, 63 * PAGE))
        .expect("SET_MEMSEG");
    fixture.destroy();
    Outcome::Passed
}

/// MMIO at an address that the Service VM does not have: the driver passes the hypervisor's error
/// on.
pub fn segment_mmio_from_nowhere() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for address in [1 << 38, 1 << 39] {
        let refused = fixture.set(segment(ACRN_MEMMAP_MMIO, GUEST, address, PAGE as u64));
        assert_eq!(refused, Err(Errno::EINVAL), "{address:#x}");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}
