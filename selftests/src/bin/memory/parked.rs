// SPDX-License-Identifier: GPL-2.0

//! Tests of memory that is unset while the VM may still access it. A vCPU uses its translations
//! until it leaves the guest, and a passed-through device until it is deassigned. The pages stay
//! pinned until then.

use acrn_selftests::{
    counting_guest::{AT, CountingGuest},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    leaks,
    mapping_fixture::{GUEST, MappingFixture, ram, scattered, whole},
    need,
    probe::fault,
    program::greet_and_count,
    status::Status,
};
use acrn_uapi::ioctl::{ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM, ACRN_IOCTL_UNSET_MEMSEG};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

/// Unset pages stay pinned while the guest runs. PAUSE_VM releases them.
pub fn parked_until_pause() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(8 * PAGE)));
    counter.assert_pages(8, 0);
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    assert_eq!(counter.probe.mapping(counter.guest.vm.vmid(), AT).mapped, 0);
    counter.assert_pages(8, 8);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// Unset pages are unpinned at once if the VM has never run, or was reset.
pub fn not_parked_before_start() -> Outcome {
    let counter = need!(CountingGuest::new(GuestMemory::anonymous(8 * PAGE)));
    let round = || {
        counter.unset(counter.segment()).expect("UNSET_MEMSEG");
        counter.assert_pages(0, 0);
        counter.set(counter.segment()).expect("SET_MEMSEG");
        counter.assert_pages(8, 0);
    };
    round();
    counter.start();
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.guest.vm.reset().expect("RESET_VM");
    round();
    // Pages are parked again while the guest runs.
    counter.guest.load_long_mode(&greet_and_count(AT));
    counter.start();
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(8, 8);
    Outcome::Passed
}

/// Pages that are unset after PAUSE_VM stay pinned: an interrupt, such as that of the guest's own
/// timer, makes a vCPU run even then. Another PAUSE_VM does not stop that vCPU, so it does not
/// release them either. RESET_VM does.
pub fn parked_while_paused() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(8 * PAGE)));
    let part = |page: u64| ram(AT + page * PAGE as u64, &counter.memory, 0, 2 * PAGE);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.unset(part(2)).expect("UNSET_MEMSEG");
    counter.assert_pages(8, 2);
    counter.unset(part(4)).expect("UNSET_MEMSEG");
    counter.assert_pages(8, 4);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(8, 4);
    counter.unset(part(6)).expect("UNSET_MEMSEG");
    counter.assert_pages(8, 6);
    counter.guest.vm.reset().expect("RESET_VM");
    counter.assert_pages(2, 0);
    Outcome::Passed
}

/// Pages that were parked before a pause are not parked any more after a reset and a new start.
pub fn parked_once() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(4 * PAGE)));
    for _ in 0..3 {
        counter.unset(counter.segment()).expect("UNSET_MEMSEG");
        counter.assert_pages(4, 4);
        counter.guest.vm.pause().expect("PAUSE_VM");
        counter.guest.vm.reset().expect("RESET_VM");
        counter.assert_pages(0, 0);
        counter.set(counter.segment()).expect("SET_MEMSEG");
        counter.guest.load_long_mode(&greet_and_count(AT));
        counter.start();
    }
    Outcome::Passed
}

/// Closing the file releases the parked pages together with the VM.
pub fn parked_until_close() -> Outcome {
    let CountingGuest {
        guest,
        device,
        probe,
        memory,
        pins,
        ..
    } = need!(CountingGuest::running(GuestMemory::anonymous(8 * PAGE)));
    let mut segment = ram(AT, &memory, 0, memory.len());
    device
        .with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment)
        .expect("UNSET_MEMSEG");
    assert_eq!(leaks::pinned_pages(), Some(pins + 8));
    drop(device);
    guest.close();
    probe.assert_no_vms();
    assert!(leaks::pinned_pages().expect("the kernel counts pins") < pins);
    Outcome::Passed
}

/// A guest may have moved memory to its secure world: the memory is not mapped any more, but
/// RESET_VM maps it again. So the memory of a VM that may have one stays pinned until DESTROY_VM.
pub fn parked_with_secure_world() -> Outcome {
    let fixture = need!(MappingFixture::with_secure_world());
    let memory = GuestMemory::anonymous(8 * PAGE);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    need!(fixture.lose(GUEST + 2 * PAGE as u64, 4 * PAGE as u64));
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    for command in [ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM] {
        assert_eq!(fixture.pinned(), 8);
        fixture.device.plain(command).expect("the command");
    }
    assert_eq!(fixture.pinned(), 8);
    let status = Status::of(&fixture.device);
    assert_eq!(status.number("parked_bytes"), 8 * PAGE as u64);
    fixture.destroy();
    fixture.assert_all_unpinned();
    Outcome::Passed
}

/// If SET_MEMSEG fails half-way, the pages that the guest could access temporarily are parked as
/// well.
pub fn parked_after_roll_back() -> Outcome {
    const PAGES: usize = 16;
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(PAGE)));
    let memory = scattered(PAGES);
    counter.probe.push_fault(Fault {
        entry: 5,
        ..fault(SET_MEMORY_REGIONS, -12)
    });
    let segment = ram(2 * AT, &memory, 0, memory.len());
    assert_eq!(counter.set(segment), Err(Errno::ENOMEM));
    let mapped = counter.probe.vm(counter.guest.vm.vmid()).expect("the VM");
    let expected = (counter.guest.memory.len() + PAGE) as u64;
    assert_eq!(mapped.mapped_bytes, expected);
    counter.assert_pages(1 + PAGES, PAGES);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(1, 0);
    Outcome::Passed
}

/// If other memory is set over a part of a segment, or a part is unset, the pages of that part are
/// parked.
pub fn parked_parts() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(8 * PAGE)));
    let other = GuestMemory::anonymous(4 * PAGE);
    other.number_pages(0x77);
    let over = ram(AT + 2 * PAGE as u64, &other, 0, 4 * PAGE);
    counter.set(over).expect("SET_MEMSEG");
    counter.assert_pages(12, 4);
    let vmid = counter.guest.vm.vmid();
    let seen = counter.probe.read_guest(vmid, AT + 3 * PAGE as u64, 8);
    assert_eq!(seen, Some(0x78_u64.to_le_bytes().to_vec()));
    let part = ram(AT + 5 * PAGE as u64, &counter.memory, 5 * PAGE, 2 * PAGE);
    counter.unset(part).expect("UNSET_MEMSEG");
    counter.assert_pages(12, 6);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(6, 0);
    Outcome::Passed
}

/// The number of parked pages is limited, so the VM must be paused eventually.
pub fn parked_not_without_end() -> Outcome {
    const SEGMENTS: usize = 16384;
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(PAGE)));
    let memory = GuestMemory::anonymous(PAGE);
    let segment = || ram(2 * AT, &memory, 0, PAGE);
    for _ in 0..SEGMENTS {
        counter.set(segment()).expect("SET_MEMSEG");
        counter.unset(segment()).expect("UNSET_MEMSEG");
    }
    assert_eq!(counter.unset(counter.segment()), Err(Errno::ENOSPC));
    assert_eq!(counter.set(segment()), Err(Errno::ENOSPC));
    counter.assert_pages(1 + SEGMENTS, SEGMENTS);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(1, 0);
    counter.set(segment()).expect("SET_MEMSEG");
    // Afterwards, pages can be parked again.
    counter.guest.vm.reset().expect("RESET_VM");
    counter.guest.load_long_mode(&greet_and_count(AT));
    counter.start();
    counter.unset(segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(2, 1);
    Outcome::Passed
}
