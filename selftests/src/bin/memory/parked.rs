// SPDX-License-Identifier: GPL-2.0

//! Memory that is taken away from a VM that may still reach it: a vCPU goes on with the translations that it has
//! until it leaves the guest, and a passed-through device until it is de-assigned. Until then the pages stay pinned.

use acrn_selftests::{
    counting_guest::{AT, CountingGuest},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    leaks,
    mapping_fixture::{ram, scattered},
    need,
    probe::fault,
    program::greet_and_count,
};
use acrn_uapi::ioctl::ACRN_IOCTL_UNSET_MEMSEG;
use mini_acrn_channel::Fault;
use nix::errno::Errno;

/// While the guest runs they stay; PAUSE_VM gives them back.
pub fn until_pause() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(8 * PAGE)));
    counter.assert_pages(8, 0);
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    assert_eq!(counter.probe.mapping(counter.guest.vm.vmid(), AT).mapped, 0);
    counter.assert_pages(8, 8);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// The VM never ran, or is paused, or was reset: nothing waits.
pub fn not_while_stopped() -> Outcome {
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
    round();
    counter.guest.vm.reset().expect("RESET_VM");
    round();
    // And again while it runs.
    counter.guest.load_long_mode(&greet_and_count(AT));
    counter.start();
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(8, 8);
    Outcome::Passed
}

/// What was parked before the VM was paused does not go on waiting when it is reset and runs again.
pub fn once() -> Outcome {
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

/// The file is closed: they go with the VM.
pub fn until_close() -> Outcome {
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
    assert_eq!(probe.vms().len(), 0, "VMs");
    assert!(leaks::pinned_pages().expect("counted") < pins);
    Outcome::Passed
}

/// SET_MEMSEG fails half-way: what the guest could see for a moment waits as well.
pub fn rolled_back() -> Outcome {
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

/// Other memory is set over it, and a part is taken away.
pub fn parts() -> Outcome {
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

/// There is an end of it: the VM must be paused some time.
pub fn not_without_end() -> Outcome {
    const PIECES: usize = 16384;
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(PAGE)));
    let memory = GuestMemory::anonymous(PAGE);
    let segment = || ram(2 * AT, &memory, 0, PAGE);
    for _ in 0..PIECES {
        counter.set(segment()).expect("SET_MEMSEG");
        counter.unset(segment()).expect("UNSET_MEMSEG");
    }
    assert_eq!(counter.unset(counter.segment()), Err(Errno::ENOSPC));
    assert_eq!(counter.set(segment()), Err(Errno::ENOSPC));
    counter.assert_pages(1 + PIECES, PIECES);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(1, 0);
    counter.set(segment()).expect("SET_MEMSEG");
    // It can begin again.
    counter.guest.vm.reset().expect("RESET_VM");
    counter.guest.load_long_mode(&greet_and_count(AT));
    counter.start();
    counter.unset(segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(2, 1);
    Outcome::Passed
}
