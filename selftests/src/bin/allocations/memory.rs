// SPDX-License-Identifier: GPL-2.0

//! SET_MEMSEG and UNSET_MEMSEG whose allocations fail.

use acrn_selftests::{
    counting_guest::{AT, CountingGuest},
    fault_injection::FaultInjection,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{GUEST, MappingFixture, locked, ram, scattered, whole},
    need,
    physical::{self, HPET, NOWHERE},
    status::Status,
};
use acrn_uapi::acrn_vm_memmap;
use nix::errno::Errno;

/// Number of pages that are set while a guest runs.
const PAGES: usize = 40;

/// Panics unless `bytes` bytes are mapped, pinned and reported, and charged in addition to `before`
/// KiB.
#[track_caller]
fn assert_bytes(fixture: &MappingFixture, bytes: usize, before: u64) {
    assert_eq!(fixture.mapped_bytes(), bytes as u64, "mapped bytes");
    assert_eq!(fixture.pinned(), (bytes / PAGE) as i64, "pinned pages");
    assert_eq!(locked() - before, bytes as u64 >> 10, "VmLck");
    let reported = Status::of(&fixture.device).number("mapped_bytes");
    assert_eq!(reported, bytes as u64, "mapped_bytes");
}

fn check_set(memory: &GuestMemory) -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let before = locked();
    failing.each(
        &[Errno::ENOMEM],
        || fixture.set(whole(memory)),
        |set| {
            if set.is_ok() {
                fixture.assert_shows(GUEST, memory, 0, memory.len());
                assert_bytes(&fixture, memory.len(), before);
                fixture.unset(whole(memory)).expect("UNSET_MEMSEG");
            }
            assert_bytes(&fixture, 0, before);
        },
    );
    fixture.destroy();
    Outcome::Passed
}

/// Sets a few pages.
pub fn set() -> Outcome {
    let memory = GuestMemory::anonymous(16 * PAGE);
    memory.number_pages(0x300);
    check_set(&memory)
}

/// Sets physically scattered pages.
pub fn set_scattered_memory() -> Outcome {
    check_set(&scattered(600))
}

/// Sets so many scattered pages that the driver's own records of them are large.
pub fn set_much_scattered_memory() -> Outcome {
    check_set(&scattered(2500))
}

/// Sets memory over the middle of other memory. If it fails, the other memory is still mapped
/// there, or all of it is unmapped there.
pub fn set_memory_over_other() -> Outcome {
    const PAGES: usize = 12;
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let (old, new) = (GuestMemory::anonymous(PAGES * PAGE), scattered(4));
    old.number_pages(0x1000);
    let before = locked();
    let at = |page: usize| GUEST + (page * PAGE) as u64;
    let restore = || fixture.set(whole(&old)).expect("SET_MEMSEG");
    restore();
    failing.each(
        &[Errno::ENOMEM],
        || fixture.set(ram(at(4), &new, 0, new.len())),
        |set| {
            let seen = |page| {
                let bytes = fixture.probe.read_guest(fixture.vmid, at(page), 8)?;
                Some(u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
            };
            let first = seen(4);
            match (set, first) {
                (Err(_), Some(0x1004)) | (Err(_), None) => {}
                (Ok(()), Some(word)) => assert_eq!(word, new.read::<u64>(0)),
                (set, _) => panic!("SET_MEMSEG returned {set:?}, and the guest sees {first:x?}"),
            }
            for page in 0..PAGES {
                let old = Some(0x1000 + page as u64);
                let expected = match (4..8).contains(&page) {
                    true if first == Some(0x1004) => old,
                    true if first.is_none() => None,
                    true => Some(new.read::<u64>((page - 4) * PAGE)),
                    false => old,
                };
                assert_eq!(seen(page), expected, "page {page}");
            }
            let pages = if first.is_none() { PAGES - 4 } else { PAGES };
            assert_bytes(&fixture, pages * PAGE, before);
            restore();
            assert_bytes(&fixture, PAGES * PAGE, before);
        },
    );
    fixture.destroy();
    Outcome::Passed
}

fn watched(pages: usize) -> Result<GuestMemory, String> {
    physical::map(NOWHERE, pages * PAGE)
}

/// Sets memory that cannot be pinned. After a failure there is no notifier for it.
pub fn set_watched_memory() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    failing.each(
        &[Errno::ENOMEM],
        || {
            let memory = watched(4).expect("/dev/mem");
            fixture.set(whole(&memory)).map(|()| memory)
        },
        |set| {
            if let Ok(memory) = set {
                assert_eq!(fixture.mapped_bytes(), memory.len() as u64);
                drop(memory);
            }
            fixture.assert_nothing_left();
        },
    );
    fixture.destroy();
    Outcome::Passed
}

/// Sets device memory.
pub fn set_device_memory() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let segment = fixture.device_memory(HPET);
    failing.each(
        &[Errno::ENOMEM],
        || fixture.set(segment),
        |set| {
            if set.is_ok() {
                assert_eq!(
                    fixture.probe.mapping(fixture.vmid, GUEST).service_vm_pa,
                    HPET
                );
                fixture.unset(segment).expect("UNSET_MEMSEG");
            }
            fixture.assert_nothing_left();
        },
    );
    fixture.destroy();
    Outcome::Passed
}

/// Makes UNSET_MEMSEG for the middle of a segment, which stays complete if the command fails.
/// `check` receives the number of bytes that are left.
fn check_split(
    fixture: &MappingFixture,
    memory: &GuestMemory,
    middle: [usize; 2],
    check: impl Fn(usize),
) -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let [first, pages] = middle;
    let middle = ram(
        GUEST + (first * PAGE) as u64,
        memory,
        first * PAGE,
        pages * PAGE,
    );
    fixture.set(whole(memory)).expect("SET_MEMSEG");
    failing.each(
        &[Errno::ENOMEM],
        || fixture.unset(middle),
        |unset| {
            let gone = if unset.is_ok() { pages * PAGE } else { 0 };
            check(memory.len() - gone);
            fixture.set(whole(memory)).expect("SET_MEMSEG");
            check(memory.len());
        },
    );
    Outcome::Passed
}

/// Unsets the middle of physically scattered pages.
pub fn split_memory() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let (memory, before) = (scattered(1500), locked());
    let outcome = check_split(&fixture, &memory, [700, 20], |bytes| {
        assert_bytes(&fixture, bytes, before);
        if bytes == memory.len() {
            fixture.assert_shows(GUEST, &memory, 0, bytes);
        }
    });
    fixture.destroy();
    outcome
}

/// Unsets the middle of memory with a notifier.
pub fn split_watched_memory() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(watched(8));
    let outcome = check_split(&fixture, &memory, [3, 2], |bytes| {
        assert_eq!(fixture.mapped_bytes(), bytes as u64);
    });
    drop(memory);
    fixture.assert_nothing_left();
    fixture.destroy();
    outcome
}

/// UNSET_MEMSEG of whole segments needs no memory, nor does munmap of memory with a notifier.
pub fn unset_memory() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let (memory, before) = (scattered(600), locked());
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    failing.nowhere(|| fixture.unset(whole(&memory)));
    assert_bytes(&fixture, 0, before);
    let memory = need!(watched(4));
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    failing.nowhere(|| {
        drop(memory);
        Ok(())
    });
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// Calls `set` while the guest runs, which must go on. If `set` succeeds, `mapped` pages are
/// mapped. Pages stay pinned until the guest is paused.
fn set_beside_guest(
    errors: &[Errno],
    mapped: usize,
    set: impl Fn(&CountingGuest, acrn_vm_memmap) -> Result<(), Errno>,
) -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(PAGE)));
    let memory = scattered(PAGES);
    let segment = ram(2 * AT, &memory, 0, memory.len());
    let mut parked = 0;
    failing.each(
        errors,
        || set(&counter, segment),
        |set| {
            counter.assert_counts();
            if set.is_ok() {
                assert_eq!(counter.mapped_bytes(), ((1 + mapped) * PAGE) as u64);
                counter.assert_pages(1 + PAGES + parked, parked);
                counter.unset(segment).expect("UNSET_MEMSEG");
                parked += PAGES;
            }
            assert_eq!(counter.mapped_bytes(), PAGE as u64);
            assert_eq!(counter.reported_bytes(), PAGE as u64);
            counter.assert_pages(1 + parked, parked);
        },
    );
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(1, 0);
    Outcome::Passed
}

/// Sets memory while the guest runs: all of it is mapped, or nothing.
pub fn set_while_guest_runs() -> Outcome {
    set_beside_guest(&[Errno::ENOMEM], PAGES, CountingGuest::set)
}

/// The hypervisor fails in the middle of SET_MEMSEG and refuses the roll-back, while the guest runs
/// and all allocations fail. The pages that the guest can access stay pinned until they can be
/// unmapped.
pub fn set_and_roll_back_fails() -> Outcome {
    const DONE: u32 = 5;
    let errors = [Errno::ENOMEM, Errno::EINVAL];
    set_beside_guest(&errors, DONE as usize, |counter, segment| {
        counter.probe.fail_regions(counter.vmid(), 0, DONE, 1, -22);
        counter
            .probe
            .fail_regions(counter.vmid(), 0, 0, u32::MAX, -1);
        let set = counter.set(segment);
        counter.probe.clear_faults();
        // The command counts as successful if it reached the hypervisor, which fails it with
        // EINVAL.
        match set {
            Err(Errno::EINVAL) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => panic!("SET_MEMSEG succeeded"),
        }
    })
}
