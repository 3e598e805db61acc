// SPDX-License-Identifier: GPL-2.0

//! Tests that the driver releases memory after UNSET_MEMSEG and after a failure.

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    need,
    physical::HPET,
    skip,
    trace::Trace,
};
use acrn_uapi::acrn_vm_memmap;
use nix::errno::Errno;

use acrn_selftests::mapping_fixture::{GUEST, MappingFixture, as_mmio, ram, scattered, whole};

/// UNSET_MEMSEG unmaps RAM from the guest and unpins it (A17).
pub fn unset_ram() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(32 * PAGE);
    memory.number_pages(0x100);
    for _ in 0..3 {
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        assert_eq!(fixture.pinned(), 32);
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// UNSET_MEMSEG of a range without memory fails, and has no effect.
pub fn unset_of_something_else() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(32 * PAGE);
    memory.number_pages(0x200);
    assert_eq!(fixture.unset(whole(&memory)), Err(Errno::EINVAL));
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let others: [acrn_vm_memmap; 3] = [
        ram(2 * GUEST, &memory, 0, 32 * PAGE),
        ram(GUEST - PAGE as u64, &memory, 0, PAGE),
        ram(GUEST + 32 * PAGE as u64, &memory, 0, PAGE),
    ];
    for other in others {
        assert_eq!(
            fixture.unset(other),
            Err(Errno::EINVAL),
            "{:#x}",
            other.user_vm_pa
        );
        assert_eq!(fixture.pinned(), 32);
    }
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    assert_eq!(fixture.unset(whole(&memory)), Err(Errno::EINVAL));
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If a part of a segment was unset as another segment, UNSET_MEMSEG of the segment unsets the rest
/// (A5).
pub fn unset_with_hole() -> Outcome {
    const PAGES: usize = 8;
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGES * PAGE);
    for page in [0, 3, PAGES - 1] {
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        let hole = ram(GUEST + (page * PAGE) as u64, &memory, 0, PAGE);
        fixture.unset(as_mmio(hole)).expect("UNSET_MEMSEG");
        assert_eq!(fixture.mapped_bytes(), ((PAGES - 1) * PAGE) as u64);
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// More segments than upstream's driver has room for can be set, and can be unset out of order
/// (A17).
pub fn many_segments() -> Outcome {
    const SEGMENTS: usize = 300;
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(SEGMENTS * PAGE);
    memory.number_pages(0x300);
    let segment = |page: usize| ram(GUEST + (2 * page * PAGE) as u64, &memory, page * PAGE, PAGE);
    for page in 0..SEGMENTS {
        fixture.set(segment(page)).expect("SET_MEMSEG");
    }
    assert_eq!(fixture.mapped_bytes(), (SEGMENTS * PAGE) as u64);
    for page in (0..SEGMENTS).step_by(2).chain((1..SEGMENTS).step_by(2)) {
        fixture.unset(segment(page)).expect("UNSET_MEMSEG");
    }
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If a batch fails at any entry, the driver passes the error on, and no page stays mapped or
/// pinned (A5).
pub fn batch_fails() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered(64);
    for (entry, result, errno) in [
        (0, -22, Errno::EINVAL),
        (1, -5, Errno::EIO),
        (20, -12, Errno::ENOMEM),
        (31, -14, Errno::EFAULT),
    ] {
        fixture.fail_regions(0, entry, 1, result);
        assert_eq!(fixture.set(whole(&memory)), Err(errno), "entry {entry}");
        fixture.probe.clear_faults();
        fixture.assert_nothing_left();
    }
    fixture.set(whole(&memory)).expect("SET_MEMSEG afterwards");
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor refuses all changes with `EPERM`, as it does for the memory of a running VM of
/// higher severity, it has mapped nothing: the driver makes no hypercall to undo that, and no page
/// stays pinned.
pub fn batch_refused() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered(64);
    fixture.fail_regions(0, 0, u32::MAX, -1);
    let trace = Trace::start(&fixture.probe);
    for _ in 0..2 {
        assert_eq!(fixture.set(whole(&memory)), Err(Errno::EPERM));
        fixture.assert_nothing_left();
    }
    assert_eq!(trace.ids(), [SET_MEMORY_REGIONS; 2]);
    fixture.probe.clear_faults();
    fixture.set(whole(&memory)).expect("SET_MEMSEG afterwards");
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    fixture.destroy();
    fixture.assert_all_unpinned();
    Outcome::Passed
}

/// If the second batch of a large segment fails when the first one is already mapped, no page stays
/// mapped or pinned (A5).
pub fn later_batch_fails() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered(1200);
    let trace = Trace::start(&fixture.probe);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let batches = trace.calls(SET_MEMORY_REGIONS).len();
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    if batches < 2 {
        skip!("{batches} batch is enough for the memory");
    }
    for (entry, errno) in [(0, Errno::EPERM), (0, Errno::EINVAL), (3, Errno::EINVAL)] {
        fixture.fail_regions(1, entry, 1, -i64::from(errno as i32));
        assert_eq!(fixture.set(whole(&memory)), Err(errno), "entry {entry}");
        fixture.probe.clear_faults();
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor fails after it has mapped memory of a device, the memory does not stay mapped
/// (A5). If the hypervisor refuses to unmap it, it does not count as set, and UNSET_MEMSEG unmaps
/// it.
pub fn mmio_half_way() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let segment = fixture.device_memory(HPET);
    fixture.fail_regions(0, 1, 1, -5);
    assert_eq!(fixture.set(segment), Err(Errno::EIO));
    fixture.assert_nothing_left();

    fixture.fail_regions(0, 1, 1, -5);
    fixture.fail_regions(0, 0, u32::MAX, -1);
    assert_eq!(fixture.set(segment), Err(Errno::EIO));
    fixture.probe.clear_faults();
    assert_eq!(fixture.mapped_bytes(), PAGE as u64);
    let trace = Trace::start(&fixture.probe);
    fixture.set(segment).expect("SET_MEMSEG");
    assert_ne!(trace.regions().len(), 0, "regions of the second SET_MEMSEG");
    fixture.unset(segment).expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor refuses memory of a device before it maps any of it, the driver unmaps
/// nothing. Otherwise it could unmap memory that the hypervisor itself mapped there.
pub fn mmio_refused() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let segment = fixture.device_memory(HPET);
    for errno in [Errno::EPERM, Errno::EINVAL] {
        fixture.fail_regions(0, 0, 1, -i64::from(errno as i32));
        let trace = Trace::start(&fixture.probe);
        assert_eq!(fixture.set(segment), Err(errno));
        assert_eq!(trace.ids(), [SET_MEMORY_REGIONS]);
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// Issues SET_MEMSEG. The hypervisor refuses it half-way, and refuses the roll-back as well.
fn fail_roll_back(fixture: &MappingFixture, memory: &GuestMemory) {
    fixture.fail_regions(0, 5, 1, -22);
    fixture.fail_regions(0, 0, u32::MAX, -1);
    assert_eq!(fixture.set(whole(memory)), Err(Errno::EINVAL));
    fixture.probe.clear_faults();
}

/// If the hypervisor refuses the roll-back as well, the pages stay pinned until the VM is
/// destroyed.
pub fn roll_back_fails() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered(16);
    fail_roll_back(&fixture, &memory);
    assert!(
        fixture.mapped_bytes() > 0,
        "the scripted faults did not take effect"
    );
    assert_eq!(fixture.pinned(), 16, "pinned pages of the guest");
    let before = fixture.pinned();
    fixture.destroy();
    // The request page was pinned before the count began.
    assert_eq!(fixture.pinned(), before - 16 - 1);
    Outcome::Passed
}

/// Memory that is left after a failed roll-back does not count as set. If the same segment is set
/// again, all of it is mapped.
pub fn set_after_failed_roll_back() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered(16);
    fail_roll_back(&fixture, &memory);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    assert_eq!(fixture.pinned(), 16);
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// Memory that is left after a failed UNSET_MEMSEG does not count as set either. Here the command
/// fails half-way, at the second part beside a hole.
pub fn set_after_failed_unset() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(8 * PAGE);
    memory.number_pages(0x480);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    need!(fixture.lose(GUEST + 5 * PAGE as u64, PAGE as u64));
    // The hypercall that deletes all of the memory fails. The next hypercall deletes the first
    // half. The hypercall for the rest fails.
    fixture.fail_regions(2, 0, 1, -1);
    assert_eq!(fixture.unset(whole(&memory)), Err(Errno::EPERM));
    fixture.probe.clear_faults();
    assert_eq!(fixture.mapped_bytes(), 3 * PAGE as u64);
    assert_eq!(fixture.pinned(), 8);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    assert_eq!(fixture.pinned(), 8);
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor refuses UNSET_MEMSEG, the command has no effect.
pub fn unset_fails() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(8 * PAGE);
    memory.number_pages(0x400);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture.fail_regions(0, 0, 1, -1);
    assert_eq!(fixture.unset(whole(&memory)), Err(Errno::EPERM));
    assert_eq!(fixture.pinned(), 8);
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// DESTROY_VM unpins all pages.
pub fn destroy_unpins() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered(40);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture
        .set(ram(4 * GUEST, &memory, 0, PAGE))
        .expect("SET_MEMSEG of the same page again");
    assert_eq!(fixture.pinned(), 41);
    fixture.destroy();
    fixture.assert_all_unpinned();
    Outcome::Passed
}

/// If the rest is unset, the part that is left after a failed roll-back still does not count as
/// set.
pub fn part_of_failed_roll_back() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered(16);
    fail_roll_back(&fixture, &memory);
    fixture
        .unset(ram(GUEST, &memory, 0, PAGE))
        .expect("UNSET_MEMSEG");
    let rest = GUEST + PAGE as u64;
    fixture
        .set(ram(rest, &memory, PAGE, 15 * PAGE))
        .expect("SET_MEMSEG");
    fixture.assert_shows(rest, &memory, PAGE, 15 * PAGE);
    assert_eq!(fixture.pinned(), 15);
    fixture.destroy();
    Outcome::Passed
}
