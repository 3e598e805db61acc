// SPDX-License-Identifier: GPL-2.0

//! Tests of failures while the guest runs, including failures of a roll-back. Pages that are still
//! mapped stay pinned, pages that the guest may still access are parked, and the guest continues.

use acrn_selftests::{
    counting_guest::{AT, CountingGuest},
    device::Device,
    guest_memory::{GuestMemory, HUGE_PAGE, PAGE},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{SET_MEMORY_REGIONS, START_VM},
    mapping_fixture::{lose, ram, scattered},
    need,
    probe::fault,
    skip,
    trace::Trace,
};
use acrn_uapi::ioctl::{ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_SET_MEMSEG};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

/// The number of pages that hold the guest's counter.
const OWN: usize = 8;

#[track_caller]
fn assert_mapped(counter: &CountingGuest, pages: usize) {
    assert_eq!(counter.mapped_bytes(), (pages * PAGE) as u64, "mapped");
}

#[track_caller]
fn assert_reported(counter: &CountingGuest, pages: usize) {
    assert_eq!(
        counter.reported_bytes(),
        (pages * PAGE) as u64,
        "mapped_bytes"
    );
}

/// The hypervisor refuses memory for the running guest, as ACRN does if the guest has a higher
/// severity. The guest never had the pages, so they are not parked.
pub fn running_refused() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(OWN * PAGE)));
    let memory = scattered(16);
    let segment = ram(2 * AT, &memory, 0, memory.len());
    counter
        .probe
        .fail_regions(counter.vmid(), 0, 0, u32::MAX, -1);
    assert_eq!(counter.set(segment), Err(Errno::EPERM));
    counter.probe.clear_faults();
    counter.assert_counts();
    assert_mapped(&counter, OWN);
    assert_reported(&counter, OWN);
    counter.assert_pages(OWN, 0);
    Outcome::Passed
}

/// The hypervisor fails in the middle of SET_MEMSEG, and refuses to unmap the regions that it has
/// mapped.
pub fn running_roll_back_refused() -> Outcome {
    const PAGES: usize = 16;
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(OWN * PAGE)));
    let memory = scattered(PAGES);
    let segment = ram(2 * AT, &memory, 0, memory.len());
    counter.probe.fail_regions(counter.vmid(), 0, 5, 1, -22);
    counter
        .probe
        .fail_regions(counter.vmid(), 0, 0, u32::MAX, -1);
    assert_eq!(counter.set(segment), Err(Errno::EINVAL));
    counter.probe.clear_faults();
    counter.assert_counts();
    assert_mapped(&counter, OWN + 5);
    assert_reported(&counter, OWN + PAGES);
    counter.assert_pages(OWN + PAGES, 0);
    // The guest's writes arrive in these pages, which have no other user.
    let vmid = counter.guest.vm.vmid();
    counter.probe.write_guest(vmid, 2 * AT, &[0x5a]);
    assert_eq!(memory.read::<u8>(0), 0x5a);
    // If the segment is set again, all of it is mapped. The driver releases the earlier pins when
    // the guest is paused.
    counter.set(segment).expect("SET_MEMSEG");
    assert_mapped(&counter, OWN + PAGES);
    assert_reported(&counter, OWN + PAGES);
    counter.assert_pages(OWN + 2 * PAGES, PAGES);
    counter.unset(segment).expect("UNSET_MEMSEG");
    assert_mapped(&counter, OWN);
    assert_reported(&counter, OWN);
    counter.assert_pages(OWN + 2 * PAGES, 2 * PAGES);
    counter.assert_counts();
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(OWN, 0);
    Outcome::Passed
}

/// If a later batch fails, its regions are unmapped, but the earlier batches stay mapped.
pub fn running_first_batch_stays() -> Outcome {
    const PAGES: usize = 1200;
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(OWN * PAGE)));
    let memory = scattered(PAGES);
    let segment = ram(2 * AT, &memory, 0, memory.len());
    let trace = Trace::start(&counter.probe);
    counter.set(segment).expect("SET_MEMSEG");
    let batches = trace.calls(SET_MEMORY_REGIONS).len();
    counter.unset(segment).expect("UNSET_MEMSEG");
    if batches < 2 {
        skip!("{batches} batch is enough for the memory");
    }
    counter.probe.fail_regions(counter.vmid(), 1, 3, 1, -22);
    counter.probe.fail_regions(counter.vmid(), 1, 0, 1, -1);
    assert_eq!(counter.set(segment), Err(Errno::EINVAL));
    counter.probe.clear_faults();
    counter.assert_counts();
    let mapped = counter.mapped_bytes() / PAGE as u64;
    assert!(
        mapped > OWN as u64 + 3,
        "{mapped} pages are mapped: the scripted faults did not take effect"
    );
    counter.assert_pages(OWN + 2 * PAGES, PAGES);
    counter.unset(segment).expect("UNSET_MEMSEG");
    assert_mapped(&counter, OWN);
    assert_reported(&counter, OWN);
    counter.assert_pages(OWN + 2 * PAGES, 2 * PAGES);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(OWN, 0);
    Outcome::Passed
}

/// UNSET_MEMSEG of memory with a hole continues page by page, and the hypervisor refuses one page.
/// All pages stay pinned, and the guest continues.
pub fn running_unset_fails_page_wise() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(OWN * PAGE)));
    need!(lose(
        &counter.probe,
        counter.guest.vm.vmid(),
        AT + PAGE as u64,
        PAGE as u64
    ));
    // Deleting 8, 4 and 2 pages fails, because one is missing. The next hypercall would delete the
    // first page alone.
    counter.probe.fail_regions(counter.vmid(), 3, 0, 1, -1);
    assert_eq!(counter.unset(counter.segment()), Err(Errno::EPERM));
    counter.probe.clear_faults();
    counter.assert_counts();
    assert_mapped(&counter, OWN - 1);
    assert_reported(&counter, OWN);
    counter.assert_pages(OWN, 0);
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    assert_mapped(&counter, 0);
    assert_reported(&counter, 0);
    counter.assert_pages(OWN, OWN);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// The hypervisor fails when it has mapped a part of a run. The driver unmaps that part as well.
pub fn roll_back_of_a_part() -> Outcome {
    const PAGES: usize = 8;
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(OWN * PAGE)));
    let memory = need!(GuestMemory::transparent_huge(HUGE_PAGE));
    let vmid = counter.guest.vm.vmid();
    // The hypervisor maps all of the run. Before the roll-back, the test deletes a part of the run
    // without the driver's knowledge.
    counter.probe.push_fault(Fault {
        vmid,
        after: 1,
        ..fault(SET_MEMORY_REGIONS, -12)
    });
    let file = Device::sharing(&counter.guest.vm);
    let mut segment = ram(2 * AT, &memory, 0, PAGES * PAGE);
    let set = move || file.with(ACRN_IOCTL_SET_MEMSEG, &mut segment);
    let held = HeldHypercall::start_after(1, &counter.probe, SET_MEMORY_REGIONS, vmid, set);
    assert_mapped(&counter, OWN + PAGES);
    let gone = 2 * AT + (5 * PAGE) as u64;
    need!(lose(&counter.probe, vmid, gone, 3 * PAGE as u64));
    assert_eq!(held.release(), Err(Errno::ENOMEM));
    assert_mapped(&counter, OWN);
    assert_reported(&counter, OWN);
    counter.assert_pages(OWN + PAGES, PAGES);
    counter.assert_counts();
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(OWN, 0);
    Outcome::Passed
}

/// If START_VM fails but the guest runs, unset pages are parked as for a VM that was started.
pub fn running_after_failed_start() -> Outcome {
    let counter = need!(CountingGuest::new(GuestMemory::anonymous(OWN * PAGE)));
    counter.memory.write::<u64>(0, 0);
    counter.probe.push_fault(Fault {
        after: 1,
        ..fault(START_VM, -1)
    });
    assert!(counter.guest.vm.start().is_err(), "START_VM");
    counter.guest.serve(1, |_, _| 0);
    counter.assert_counts();
    counter.probe.hold_kicks(true);
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.assert_counts();
    counter.assert_pages(OWN, OWN);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// If the hypervisor refuses DESTROY_VM, the guest continues, and memory can still be set and
/// unset.
pub fn running_after_refused_destroy() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(OWN * PAGE)));
    let destroyed = counter.device.plain(ACRN_IOCTL_DESTROY_VM);
    assert_eq!(destroyed, Err(Errno::EPERM));
    counter.assert_counts();
    let other = GuestMemory::anonymous(PAGE);
    let segment = ram(2 * AT, &other, 0, PAGE);
    counter.set(segment).expect("SET_MEMSEG");
    assert_mapped(&counter, OWN + 1);
    counter.unset(segment).expect("UNSET_MEMSEG");
    assert_mapped(&counter, OWN);
    counter.assert_pages(OWN + 1, 1);
    counter.assert_counts();
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(OWN, 0);
    Outcome::Passed
}
