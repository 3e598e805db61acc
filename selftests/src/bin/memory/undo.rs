// SPDX-License-Identifier: GPL-2.0

//! Memory is given back: by UNSET_MEMSEG, and when something fails on the way.

use acrn_selftests::{
    area::{Area, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    need, skip,
    trace::Trace,
};
use acrn_uapi::acrn_vm_memmap;
use nix::errno::Errno;

use acrn_selftests::bench::{Bench, GUEST, as_mmio, ram, scattered, whole};

/// UNSET_MEMSEG takes RAM away from the guest and unpins it (A17).
pub fn unset_ram() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(32 * PAGE);
    area.number_pages(0x100);
    for _ in 0..3 {
        bench.set(whole(&area)).expect("SET_MEMSEG");
        assert_eq!(bench.pinned(), 32);
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// UNSET_MEMSEG of where nothing was set changes nothing.
pub fn unset_of_something_else() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(32 * PAGE);
    area.number_pages(0x200);
    assert_eq!(bench.unset(whole(&area)), Err(Errno::EINVAL));
    bench.set(whole(&area)).expect("SET_MEMSEG");
    let others: [acrn_vm_memmap; 3] = [
        ram(2 * GUEST, &area, 0, 32 * PAGE),
        ram(GUEST - PAGE as u64, &area, 0, PAGE),
        ram(GUEST + 32 * PAGE as u64, &area, 0, PAGE),
    ];
    for other in others {
        assert_eq!(
            bench.unset(other),
            Err(Errno::EINVAL),
            "{:#x}",
            other.user_vm_pa
        );
        assert_eq!(bench.pinned(), 32);
    }
    bench.assert_shows(GUEST, &area, 0, area.len());
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    assert_eq!(bench.unset(whole(&area)), Err(Errno::EINVAL));
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}

/// A segment of which a part went with another one: what is left of it is taken away (A5).
pub fn unset_with_hole() -> Outcome {
    const PAGES: usize = 8;
    let bench = need!(Bench::new());
    let area = Area::anonymous(PAGES * PAGE);
    for page in [0, 3, PAGES - 1] {
        bench.set(whole(&area)).expect("SET_MEMSEG");
        let hole = ram(GUEST + (page * PAGE) as u64, &area, 0, PAGE);
        bench.unset(as_mmio(hole)).expect("UNSET_MEMSEG");
        assert_eq!(bench.mapped_bytes(), ((PAGES - 1) * PAGE) as u64);
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// More segments than upstream has slots for, taken away out of order (A17).
pub fn many_segments() -> Outcome {
    const SEGMENTS: usize = 300;
    let bench = need!(Bench::new());
    let area = Area::anonymous(SEGMENTS * PAGE);
    area.number_pages(0x300);
    let segment = |page: usize| ram(GUEST + (2 * page * PAGE) as u64, &area, page * PAGE, PAGE);
    for page in 0..SEGMENTS {
        bench.set(segment(page)).expect("SET_MEMSEG");
    }
    assert_eq!(bench.mapped_bytes(), (SEGMENTS * PAGE) as u64);
    for page in (0..SEGMENTS).step_by(2).chain((1..SEGMENTS).step_by(2)) {
        bench.unset(segment(page)).expect("UNSET_MEMSEG");
    }
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}

/// A batch that fails at any entry: its error is passed on, and nothing stays mapped or pinned (A5).
pub fn batch_fails() -> Outcome {
    let bench = need!(Bench::new());
    let area = scattered(64);
    for (entry, result, errno) in [
        (0, -22, Errno::EINVAL),
        (1, -1, Errno::EPERM),
        (20, -12, Errno::ENOMEM),
        (31, -14, Errno::EFAULT),
    ] {
        bench.fail_regions(0, entry, 1, result);
        assert_eq!(bench.set(whole(&area)), Err(errno), "entry {entry}");
        bench.probe.clear_faults();
        bench.assert_nothing_left();
    }
    bench.set(whole(&area)).expect("SET_MEMSEG afterwards");
    bench.assert_shows(GUEST, &area, 0, area.len());
    bench.destroy();
    Outcome::Passed
}

/// The same in the second batch of a large segment, with the first already mapped (A5).
pub fn later_batch_fails() -> Outcome {
    let bench = need!(Bench::new());
    let area = scattered(1200);
    let trace = Trace::start(&bench.probe);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    let batches = trace.calls(SET_MEMORY_REGIONS).len();
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    if batches < 2 {
        skip!("{batches} batch is enough for the memory");
    }
    for entry in [0, 3] {
        bench.fail_regions(1, entry, 1, -22);
        assert_eq!(bench.set(whole(&area)), Err(Errno::EINVAL), "entry {entry}");
        bench.probe.clear_faults();
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// If the hypervisor does not even take back what it mapped, the pages stay pinned until the VM is gone.
pub fn roll_back_fails() -> Outcome {
    let bench = need!(Bench::new());
    let area = scattered(16);
    bench.fail_regions(0, 5, 1, -22);
    bench.fail_regions(0, 0, u32::MAX, -1);
    assert_eq!(bench.set(whole(&area)), Err(Errno::EINVAL));
    bench.probe.clear_faults();
    assert!(bench.mapped_bytes() > 0, "the script did not work");
    assert_eq!(bench.pinned(), 16, "pages of the guest were given back");
    let before = bench.pinned();
    bench.destroy();
    // The request page was pinned before the count began.
    assert_eq!(bench.pinned(), before - 16 - 1);
    Outcome::Passed
}

/// What the hypervisor did not take back is not taken for what was set: the same segment again is there as a whole.
pub fn set_after_failed_roll_back() -> Outcome {
    let bench = need!(Bench::new());
    let area = scattered(16);
    bench.fail_regions(0, 5, 1, -22);
    bench.fail_regions(0, 0, u32::MAX, -1);
    assert_eq!(bench.set(whole(&area)), Err(Errno::EINVAL));
    bench.probe.clear_faults();
    bench.set(whole(&area)).expect("SET_MEMSEG");
    bench.assert_shows(GUEST, &area, 0, area.len());
    assert_eq!(bench.pinned(), 16);
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}

/// The same after an UNSET_MEMSEG that failed when some was gone: here at the second of the parts that a hole makes.
pub fn set_after_failed_unset() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(8 * PAGE);
    area.number_pages(0x480);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    need!(bench.lose(GUEST + 5 * PAGE as u64, PAGE as u64));
    // All of it is refused, then the first half is deleted, and the rest fails.
    bench.fail_regions(2, 0, 1, -1);
    assert_eq!(bench.unset(whole(&area)), Err(Errno::EPERM));
    bench.probe.clear_faults();
    assert_eq!(bench.mapped_bytes(), 3 * PAGE as u64);
    assert_eq!(bench.pinned(), 8);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    bench.assert_shows(GUEST, &area, 0, area.len());
    assert_eq!(bench.pinned(), 8);
    bench.destroy();
    Outcome::Passed
}

/// UNSET_MEMSEG that the hypervisor refuses changes nothing.
pub fn unset_fails() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(8 * PAGE);
    area.number_pages(0x400);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    bench.fail_regions(0, 0, 1, -1);
    assert_eq!(bench.unset(whole(&area)), Err(Errno::EPERM));
    assert_eq!(bench.pinned(), 8);
    bench.assert_shows(GUEST, &area, 0, area.len());
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}

/// DESTROY_VM gives everything back.
pub fn destroy_unpins() -> Outcome {
    let bench = need!(Bench::new());
    let area = scattered(40);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    bench
        .set(ram(4 * GUEST, &area, 0, PAGE))
        .expect("SET_MEMSEG of the same page again");
    assert_eq!(bench.pinned(), 41);
    bench.destroy();
    assert_eq!(bench.pinned(), -1, "all pins and that of the request page");
    Outcome::Passed
}

/// Nor is a part of it, when the rest was taken away.
pub fn part_of_failed_roll_back() -> Outcome {
    let bench = need!(Bench::new());
    let area = scattered(16);
    bench.fail_regions(0, 5, 1, -22);
    bench.fail_regions(0, 0, u32::MAX, -1);
    assert_eq!(bench.set(whole(&area)), Err(Errno::EINVAL));
    bench.probe.clear_faults();
    bench
        .unset(ram(GUEST, &area, 0, PAGE))
        .expect("UNSET_MEMSEG");
    let rest = GUEST + PAGE as u64;
    bench
        .set(ram(rest, &area, PAGE, 15 * PAGE))
        .expect("SET_MEMSEG");
    bench.assert_shows(rest, &area, PAGE, 15 * PAGE);
    assert_eq!(bench.pinned(), 15);
    bench.destroy();
    Outcome::Passed
}
