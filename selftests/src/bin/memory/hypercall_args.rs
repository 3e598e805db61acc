// SPDX-License-Identifier: GPL-2.0

//! Tests of the parameters of SET_MEMORY_REGIONS, byte by byte.

use acrn_hypercall_abi::{MemoryRegion, MemoryRegions};
use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    mapping_fixture::{GUEST, MappingFixture, ram, scattered, whole},
    need,
    physical::HPET,
    trace::{Trace, parameter},
};
use acrn_uapi::*;
use mini_acrn_channel::kind;
use nix::errno::Errno;

/// The header contains the VM, the number of entries and their address. All other fields are zero.
pub fn header() -> Outcome {
    let fixtures = [need!(MappingFixture::new()), need!(MappingFixture::new())];
    let small = GuestMemory::anonymous(PAGE);
    let large = scattered(600);
    for fixture in fixtures.iter().rev() {
        for (guest, memory) in [(GUEST, &small), (2 * GUEST, &large)] {
            let trace = Trace::start(&fixture.probe);
            fixture
                .set(ram(guest, memory, 0, memory.len()))
                .expect("SET_MEMSEG");
            let mut entries = 0;
            for call in trace.calls(SET_MEMORY_REGIONS) {
                assert_eq!(call.data_len as usize, size_of::<MemoryRegions>());
                let header: MemoryRegions = parameter(&call);
                assert_eq!((header.vmid, header.reserved), (fixture.vmid, [0; 3]));
                assert_eq!(header.reserved1, 0);
                assert_ne!(header.regions_gpa, 0);
                entries += header.mr_num as usize;
            }
            assert!(entries > 0);
            assert_eq!(entries, trace.events(kind::MEMORY_REGION).len());
        }
    }
    for fixture in fixtures {
        fixture.destroy();
    }
    Outcome::Passed
}

/// An entry for RAM has write-back caching, the requested access rights, and no other bits.
pub fn rights() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGE);
    let others = [
        0,
        ACRN_MEM_TYPE_WB,
        ACRN_MEM_TYPE_UC,
        ACRN_MEM_TYPE_WT,
        !(ACRN_MEM_ACCESS_RIGHT_MASK | ACRN_MEM_TYPE_WB),
    ];
    let readable = (0..=ACRN_MEM_ACCESS_RWX).filter(|rights| rights & ACRN_MEM_ACCESS_READ != 0);
    let attributes = readable.flat_map(|rights| others.map(|others| (rights, others)));
    for (index, (rights, others)) in attributes.enumerate() {
        // Upstream's driver cannot unset memory, so each segment has a different address.
        let guest = GUEST + (2 * index * PAGE) as u64;
        let segment = acrn_vm_memmap {
            attr: rights | others,
            ..ram(guest, &memory, 0, PAGE)
        };
        let trace = Trace::start(&fixture.probe);
        fixture.set(segment).expect("SET_MEMSEG");
        let regions = trace.regions();
        let reported: Vec<_> = regions
            .iter()
            .map(|region| (region.type_, region.attr, region.user_vm_pa, region.size))
            .collect();
        let attr = ACRN_MEM_TYPE_WB | rights;
        assert_eq!(reported, [(MemoryRegion::ADD, attr, guest, PAGE as u64)]);
    }
    fixture.destroy();
    Outcome::Passed
}

/// Memory that the guest may not read is refused: ACRN maps nothing without any right, and fails an
/// assertion when the guest touches memory that it may only write. UNSET_MEMSEG ignores rights.
pub fn rights_without_read() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGE);
    let segments = [whole(&memory), fixture.device_memory(HPET)];
    for segment in segments {
        for rights in (0..=ACRN_MEM_ACCESS_RWX).filter(|rights| rights & ACRN_MEM_ACCESS_READ == 0)
        {
            for others in [0, ACRN_MEM_TYPE_WB, !ACRN_MEM_ACCESS_RIGHT_MASK] {
                let attr = rights | others;
                let trace = Trace::start(&fixture.probe);
                let refused = fixture.set(acrn_vm_memmap { attr, ..segment });
                assert_eq!(refused, Err(Errno::EINVAL), "attributes {attr:#x}");
                trace.assert_no_hypercalls();
                fixture.assert_nothing_left();
            }
            fixture.set(segment).expect("SET_MEMSEG");
            let unset = fixture.unset(acrn_vm_memmap {
                attr: rights,
                ..segment
            });
            assert_eq!(unset, Ok(()), "UNSET_MEMSEG, rights {rights:#x}");
            fixture.assert_nothing_left();
        }
    }
    fixture.destroy();
    Outcome::Passed
}
