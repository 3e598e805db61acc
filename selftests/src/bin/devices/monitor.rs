// SPDX-License-Identifier: GPL-2.0

//! VM_INTR_MONITOR: a page of counts that is read and written.
//!
//! The hypervisor counts interrupts of passed-through devices. mini-ACRN has none, so it counts
//! those of INJECT_MSI and SET_IRQLINE by vector.

use std::thread;

use acrn_selftests::{
    device::Argument,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::VM_INTR_MONITOR,
    leaks,
    mapping_fixture::MappingFixture,
    need,
    probe::fault,
    trace::{Trace, parameter},
};
use acrn_uapi::ioctl::*;
use nix::errno::Errno;

/// Commands of the hypervisor.
const GET: u32 = 0;
const DELAY: u32 = 1;
/// Number of entries of the buffer. Two entries are an interrupt and its count.
const ENTRIES: u32 = 48;
/// Offset of the buffer.
const BUFFER: usize = 8;
/// Bytes of the page that are used.
const USED: usize = BUFFER + ENTRIES as usize * 8;
/// Contents of the page before a call.
const FILLER: u64 = 0xa5a5_5a5a_a5a5_5a5a;

/// Returns a page with a command, a number of entries, and a buffer full of [`FILLER`].
fn request(command: u32, entries: u32) -> GuestMemory {
    let page = GuestMemory::anonymous(PAGE);
    refill(&page, command, entries);
    page
}

fn refill(page: &GuestMemory, command: u32, entries: u32) {
    for offset in (BUFFER..PAGE).step_by(8) {
        page.write::<u64>(offset, FILLER);
    }
    page.write::<u32>(0, command);
    page.write::<u32>(4, entries);
}

/// Panics unless the result is `counts`, and the rest of the page is unchanged.
#[track_caller]
fn assert_answer(page: &GuestMemory, counts: &[(u64, u64)]) {
    assert_eq!(page.read::<u32>(0), GET, "command");
    let words = page.read::<u32>(4) as usize;
    assert_eq!(words, 2 * counts.len(), "number of words");
    let word = |index: usize| page.read::<u64>(BUFFER + 8 * index);
    for (index, count) in counts.iter().enumerate() {
        let answer = (word(2 * index), word(2 * index + 1));
        assert_eq!(answer, *count, "interrupt and count number {index}");
    }
    for offset in (BUFFER + 16 * counts.len()..PAGE).step_by(8) {
        assert_eq!(page.read::<u64>(offset), FILLER, "offset {offset}");
    }
}

fn monitor(fixture: &MappingFixture, page: &GuestMemory) -> Result<(), Errno> {
    let argument = Argument::At(page, 0);
    fixture.device.ioctl(ACRN_IOCTL_VM_INTR_MONITOR, argument)
}

/// Sends `count` interrupts to the guest, which need not run.
fn interrupt(fixture: &MappingFixture, vector: u64, count: u64) {
    let msi_addr = fixture.msi();
    for _ in 0..count {
        let sent = fixture.device.inject_msi(msi_addr, vector);
        assert_eq!(sent, Ok(()), "INJECT_MSI");
    }
}

/// The counts arrive, and the rest of the page is unchanged.
pub fn monitor_counts_arrive() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = request(GET, ENTRIES);
    monitor(&fixture, &page).expect("VM_INTR_MONITOR");
    assert_answer(&page, &[]);
    interrupt(&fixture, 0x41, 3);
    interrupt(&fixture, 0xe0, 1);
    for _ in 0..2 {
        refill(&page, GET, ENTRIES);
        monitor(&fixture, &page).expect("VM_INTR_MONITOR");
        assert_answer(&page, &[(0x41, 3), (0xe0, 1)]);
    }
    // The number of entries limits the result.
    refill(&page, GET, 3);
    monitor(&fixture, &page).expect("VM_INTR_MONITOR");
    assert_answer(&page, &[(0x41, 3)]);
    fixture.destroy();
    Outcome::Passed
}

/// ACRN takes a buffer of fewer than two entries for a large one. It gets one that has room, and
/// user space gets as many counts as fit.
///
/// acrn-dm passes 0 once the hypervisor has returned 0.
pub fn monitor_fewer_than_two_entries() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = request(GET, ENTRIES);
    monitor(&fixture, &page).expect("VM_INTR_MONITOR");
    assert_answer(&page, &[]);
    let sent: Vec<(u64, u64)> = (0x40..0x68).map(|vector| (vector, 1)).collect();
    interrupt(&fixture, sent[0].0, sent[0].1);
    monitor(&fixture, &page).expect("VM_INTR_MONITOR again");
    assert_answer(&page, &sent[..1]);
    for (vector, count) in &sent[1..] {
        interrupt(&fixture, *vector, *count);
    }
    for entries in [0, 1] {
        refill(&page, GET, entries);
        monitor(&fixture, &page).expect("VM_INTR_MONITOR");
        assert_answer(&page, &sent[..ENTRIES as usize / 2]);
    }
    fixture.destroy();
    Outcome::Passed
}

/// The hypervisor gets all bytes that it may read, in one page.
pub fn monitor_request_arrives() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = request(GET, ENTRIES);
    let trace = Trace::start(&fixture.probe);
    monitor(&fixture, &page).expect("VM_INTR_MONITOR");
    let calls = trace.calls(VM_INTR_MONITOR);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].p1, u64::from(fixture.vmid));
    let offset = calls[0].p2 as usize % PAGE;
    assert!(offset + USED <= PAGE, "{:#x}", calls[0].p2);
    let received: [u64; USED / 8] = parameter(&calls[0]);
    assert_eq!(received[0], u64::from(ENTRIES) << 32 | u64::from(GET));
    assert_eq!(received[1..], [FILLER; ENTRIES as usize]);
    fixture.destroy();
    Outcome::Passed
}

/// An address stands for the page that contains it.
pub fn monitor_any_address() -> Outcome {
    let fixture = need!(MappingFixture::new());
    interrupt(&fixture, 0x41, 1);
    let memory = GuestMemory::anonymous(2 * PAGE);
    for offset in [0, 1, 8, USED, PAGE - 1] {
        refill(&memory, GET, ENTRIES);
        memory.write::<u64>(PAGE, FILLER);
        let argument = Argument::At(&memory, offset);
        let done = fixture.device.ioctl(ACRN_IOCTL_VM_INTR_MONITOR, argument);
        assert_eq!(done, Ok(()), "offset {offset}");
        assert_eq!(memory.read::<u32>(4), 2, "offset {offset}");
        assert_eq!(memory.read::<u64>(PAGE), FILLER, "the next page");
    }
    fixture.destroy();
    Outcome::Passed
}

/// Refusals by the hypervisor are passed on, and any other error.
pub fn monitor_errors_passed_on() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for (command, entries) in [
        (GET, ENTRIES + 1),
        (GET, u32::MAX),
        (DELAY, ENTRIES + 1),
        (2, 0),
        (u32::MAX, ENTRIES),
    ] {
        let page = request(command, entries);
        assert_eq!(monitor(&fixture, &page), Err(Errno::EINVAL));
        assert_eq!(
            (page.read::<u32>(0), page.read::<u32>(4)),
            (command, entries)
        );
    }
    assert_eq!(monitor(&fixture, &request(DELAY, 1)), Ok(()));
    for errno in [Errno::EPERM, Errno::ENOTTY, Errno::ENODEV] {
        let result = -i64::from(errno as i32);
        fixture.probe.push_fault(fault(VM_INTR_MONITOR, result));
        assert_eq!(monitor(&fixture, &request(GET, ENTRIES)), Err(errno));
    }
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor refuses, the error is returned and nothing is written, even if the page is not
/// writable.
pub fn monitor_refused_writes_nothing() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = request(GET, ENTRIES);
    page.protect();
    for errno in [Errno::EPERM, Errno::EBUSY] {
        let result = -i64::from(errno as i32);
        fixture.probe.push_fault(fault(VM_INTR_MONITOR, result));
        assert_eq!(monitor(&fixture, &page), Err(errno));
    }
    fixture.destroy();
    Outcome::Passed
}

/// Addresses without a page, or with one that is not readable and writable.
pub fn monitor_bad_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let none = GuestMemory::anonymous(PAGE);
    none.unmap(0, PAGE);
    let read_only = request(GET, ENTRIES);
    read_only.protect();
    for argument in [
        Argument::NULL,
        Argument::KERNEL,
        Argument::Number(1 << 63),
        Argument::Number(u64::MAX),
        Argument::At(&none, 0),
        Argument::At(&read_only, 0),
    ] {
        let refused = fixture.device.ioctl(ACRN_IOCTL_VM_INTR_MONITOR, argument);
        assert_eq!(refused, Err(Errno::EFAULT));
    }
    fixture.destroy();
    Outcome::Passed
}

/// Nothing stays pinned after success, after failure, and after the VM (A8).
pub fn monitor_nothing_stays_pinned() -> Outcome {
    let before = leaks::pinned_pages();
    let fixture = need!(MappingFixture::new());
    let page = request(GET, ENTRIES);
    for _ in 0..8 {
        monitor(&fixture, &page).expect("VM_INTR_MONITOR");
        assert_eq!(fixture.pinned(), 0, "after success");
    }
    let bad = request(GET, ENTRIES + 1);
    assert_eq!(monitor(&fixture, &bad), Err(Errno::EINVAL));
    assert_eq!(fixture.pinned(), 0, "after failure");
    fixture.destroy();
    assert_eq!(leaks::pinned_pages(), before, "after DESTROY_VM");
    Outcome::Passed
}

/// Two threads call VM_INTR_MONITOR concurrently (R10).
pub fn monitor_two_threads() -> Outcome {
    const ROUNDS: usize = 500;
    let fixture = &need!(MappingFixture::new());
    interrupt(fixture, 0x41, 1);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let page = request(GET, ENTRIES);
                for _ in 0..ROUNDS {
                    page.write::<u32>(4, ENTRIES);
                    monitor(fixture, &page).expect("VM_INTR_MONITOR");
                    assert_eq!(page.read::<u32>(4), 2);
                }
            });
        }
    });
    assert_eq!(fixture.pinned(), 0);
    fixture.destroy();
    Outcome::Passed
}
