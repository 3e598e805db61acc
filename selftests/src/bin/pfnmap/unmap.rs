// SPDX-License-Identifier: GPL-2.0

//! Tests that the guest loses memory without kernel pages when the process unmaps it (R12).

use std::{
    fs,
    io::{Read, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use acrn_selftests::{
    device::Device,
    guest_memory::{GuestMemory, PAGE},
    harness::{self, Outcome},
    hypercall::SET_MEMORY_REGIONS,
    mapping_fixture::{GUEST, MappingFixture, ram, whole},
    need,
    probe::fault,
    status::Status,
    trace::Trace,
};
use acrn_uapi::{ACRN_MEMMAP_MMIO, acrn_vm_memmap, ioctl::ACRN_IOCTL_SET_MEMSEG};
use nix::errno::Errno;

use crate::physical::{Mapped, NOWHERE, assert_absent, assert_lost, map};

/// When the process unmaps all memory, the driver makes the hypercall before `munmap` returns.
pub fn unmapped() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(8));
    let trace = Trace::start(&fixture.probe);
    drop(memory);
    assert_lost(&fixture, &trace, 8);
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// When the process unmaps a page of the memory, the guest loses that page. When the process unmaps
/// the rest, the guest loses the rest as well.
pub fn partly_unmapped() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(8));
    let trace = Trace::start(&fixture.probe);
    memory.unmap(2 * PAGE, PAGE);
    assert_absent(&fixture, 2);
    assert!(!trace.regions().is_empty(), "there was no hypercall");
    drop(memory);
    assert_lost(&fixture, &trace, 8);
    fixture.destroy();
    Outcome::Passed
}

/// If UNSET_MEMSEG has unset a part before, the guest still loses the rest when the process unmaps
/// the memory.
pub fn with_hole() -> Outcome {
    const PAGES: usize = 8;
    for page in [0, 3, PAGES - 1] {
        let Mapped { fixture, memory } = need!(Mapped::new(PAGES));
        let hole = acrn_vm_memmap {
            type_: ACRN_MEMMAP_MMIO,
            ..ram(GUEST + (page * PAGE) as u64, &memory, 0, PAGE)
        };
        fixture.unset(hole).expect("UNSET_MEMSEG");
        let trace = Trace::start(&fixture.probe);
        drop(memory);
        assert_lost(&fixture, &trace, PAGES);
        fixture.destroy();
    }
    Outcome::Passed
}

/// If the guest has unmapped many pages, by moving memory of devices over them, it still loses the
/// rest when the process unmaps the memory.
pub fn with_many_holes() -> Outcome {
    const PAGES: usize = 8192;
    let Mapped { fixture, memory } = need!(Mapped::new(PAGES));
    need!(fixture.lose(GUEST, (PAGES / 2 + 1) as u64 * PAGE as u64));
    drop(memory);
    assert_eq!(fixture.mapped_bytes(), 0);
    fixture.destroy();
    Outcome::Passed
}

/// Memory that is set twice is unmapped from the guest once.
pub fn set_twice() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(4));
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let trace = Trace::start(&fixture.probe);
    drop(memory);
    assert_lost(&fixture, &trace, 4);
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If the process moves the memory to another address, which the driver does not know, the guest
/// loses the memory.
pub fn moved() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(1));
    let trace = Trace::start(&fixture.probe);
    let other = GuestMemory::anonymous(PAGE);
    other.move_page(0, &memory, 0);
    assert_lost(&fixture, &trace, 1);
    // The memory can be set from the new address.
    fixture.set(whole(&other)).expect("SET_MEMSEG");
    fixture.destroy();
    Outcome::Passed
}

/// If the process makes the memory read-only, the memory must not stay writable for the guest.
pub fn protected() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(2));
    memory.protect();
    for page in [GUEST, GUEST + PAGE as u64] {
        let query = fixture.probe.mapping(fixture.vmid, page);
        assert_eq!(query.writable, 0, "{page:#x} is writable");
    }
    fixture.destroy();
    Outcome::Passed
}

/// When the process has unmapped memory, other memory can be set at the same guest address.
pub fn replaced() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(2));
    drop(memory);
    for step in 1..4 {
        let memory = need!(map(NOWHERE + step * 0x10_0000, 2 * PAGE));
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        let query = fixture.probe.mapping(fixture.vmid, GUEST);
        assert_eq!(query.service_vm_pa, NOWHERE + step * 0x10_0000);
        assert_eq!(fixture.mapped_bytes(), 2 * PAGE as u64);
    }
    fixture.destroy();
    Outcome::Passed
}

/// When the process unmaps one of many mappings, the guest loses only that one.
pub fn one_of_many() -> Outcome {
    const AREAS: u64 = 40;
    let fixture = need!(MappingFixture::new());
    let size = PAGE as u64;
    let mut areas = Vec::new();
    for index in 0..AREAS {
        let memory = need!(map(NOWHERE + 2 * index * size, PAGE));
        fixture
            .set(ram(GUEST + index * size, &memory, 0, PAGE))
            .expect("SET_MEMSEG");
        areas.push(memory);
    }
    assert_eq!(fixture.mapped_bytes(), AREAS * size);
    while areas.len() > 1 {
        let index = areas.len() / 2;
        drop(areas.remove(index));
        assert_eq!(fixture.mapped_bytes(), areas.len() as u64 * size);
    }
    fixture.destroy();
    Outcome::Passed
}

/// If another process with the same mapping starts and ends, the guest keeps its memory.
pub fn kept_after_fork() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(4));
    let trace = Trace::start(&fixture.probe);
    // SAFETY: The child only ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: This ends the process at once.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: This waits for a child of this process, and writes to a local variable.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    trace.assert_no_hypercalls();
    assert_eq!(fixture.mapped_bytes(), memory.len() as u64);
    fixture.destroy();
    Outcome::Passed
}

/// If the VM is destroyed before the process unmaps the memory, `munmap` makes no hypercall,
/// because another VM may have its id.
pub fn after_the_vm() -> Outcome {
    for close in [false, true] {
        let Mapped { fixture, memory } = need!(Mapped::new(4));
        fixture.destroy();
        if close {
            drop(fixture);
        }
        // Another VM has the same id, and has memory at the same address.
        let next = need!(MappingFixture::new());
        let ordinary = GuestMemory::anonymous(4 * PAGE);
        next.set(whole(&ordinary)).expect("SET_MEMSEG");
        let trace = Trace::start(&next.probe);
        drop(memory);
        trace.assert_no_hypercalls();
        assert_eq!(next.mapped_bytes(), ordinary.len() as u64);
        next.destroy();
    }
    Outcome::Passed
}

/// After UNSET_MEMSEG, `munmap` makes no hypercall.
pub fn after_unset() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(4));
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    let trace = Trace::start(&fixture.probe);
    drop(memory);
    trace.assert_no_hypercalls();
    fixture.destroy();
    Outcome::Passed
}

/// Even if the hypervisor refuses to delete the memory, `munmap` returns, and the VM can be
/// destroyed.
pub fn hypervisor_refuses() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(4));
    let len = memory.len() as u64;
    fixture.probe.push_fault(fault(SET_MEMORY_REGIONS, -5));
    let trace = Trace::start(&fixture.probe);
    drop(memory);
    let calls = trace.calls(SET_MEMORY_REGIONS);
    let results: Vec<_> = calls.iter().map(|call| call.result).collect();
    assert_eq!(results, [-5]);
    assert_eq!(fixture.mapped_bytes(), len);
    fixture.destroy();
    assert!(
        fixture.probe.vm(fixture.vmid).is_none(),
        "the VM still exists"
    );
    Outcome::Passed
}

/// If the hypervisor refuses once to delete the memory, UNSET_MEMSEG unmaps it afterwards.
pub fn refused_once() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(4));
    let segment = whole(&memory);
    fixture.probe.push_fault(fault(SET_MEMORY_REGIONS, -5));
    drop(memory);
    assert_mapped_bytes(&fixture, 4);
    fixture.unset(segment).expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    assert_mapped_bytes(&fixture, 0);
    fixture.destroy();
    Outcome::Passed
}

/// If UNSET_MEMSEG has split the memory, and the hypervisor refuses to delete one part, the guest
/// still loses the other part when the process unmaps the memory.
pub fn refused_part() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(3));
    let hole = ram(GUEST + PAGE as u64, &memory, PAGE, PAGE);
    fixture.unset(hole).expect("UNSET_MEMSEG");
    fixture.probe.push_fault(fault(SET_MEMORY_REGIONS, -5));
    let segment = whole(&memory);
    drop(memory);
    assert_eq!(fixture.mapped_bytes(), PAGE as u64);
    assert_mapped_bytes(&fixture, 1);
    fixture.unset(segment).expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

#[track_caller]
fn assert_mapped_bytes(fixture: &MappingFixture, pages: usize) {
    let reported = Status::of(&fixture.device).number("mapped_bytes");
    assert_eq!(reported, (pages * PAGE) as u64, "mapped_bytes");
}

/// The driver counts memory as mapped while the guest has it. It does not count memory that the
/// hypervisor has refused.
pub fn counted() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(8));
    assert_mapped_bytes(&fixture, 8);
    let part = ram(GUEST + 2 * PAGE as u64, &memory, 2 * PAGE, 3 * PAGE);
    fixture.unset(part).expect("UNSET_MEMSEG");
    assert_mapped_bytes(&fixture, 5);
    // If the process unmaps a part, the driver unmaps all of the segment.
    memory.unmap(0, PAGE);
    assert_mapped_bytes(&fixture, 0);
    drop(memory);
    let memory = need!(map(NOWHERE, 2 * PAGE));
    fixture.probe.push_fault(fault(SET_MEMORY_REGIONS, -5));
    assert_eq!(fixture.set(whole(&memory)), Err(Errno::EIO));
    assert_mapped_bytes(&fixture, 0);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    // Ordinary memory is set over it.
    let ordinary = GuestMemory::anonymous(2 * PAGE);
    fixture.set(whole(&ordinary)).expect("SET_MEMSEG");
    assert_mapped_bytes(&fixture, 2);
    fixture.unset(whole(&ordinary)).expect("UNSET_MEMSEG");
    assert_mapped_bytes(&fixture, 0);
    fixture.destroy();
    Outcome::Passed
}

/// If ordinary memory is set over a part, it stays mapped when the process unmaps the rest.
pub fn hole_filled() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(4));
    let ordinary = GuestMemory::anonymous(PAGE);
    ordinary.number_pages(0x7000);
    let place = GUEST + PAGE as u64;
    fixture
        .set(ram(place, &ordinary, 0, PAGE))
        .expect("SET_MEMSEG");
    drop(memory);
    fixture.assert_shows(place, &ordinary, 0, PAGE);
    assert_eq!(fixture.pinned(), 1);
    fixture.destroy();
    Outcome::Passed
}

/// The process clears its soft-dirty bits. That changes no mapping, so the guest keeps its memory.
pub fn soft_dirty() -> Outcome {
    let Mapped { fixture, memory } = need!(Mapped::new(4));
    let trace = Trace::start(&fixture.probe);
    need!(fs::write("/proc/self/clear_refs", "4").map_err(|error| error.to_string()));
    trace.assert_no_hypercalls();
    assert_eq!(fixture.mapped_bytes(), memory.len() as u64);
    fixture.destroy();
    Outcome::Passed
}

/// Sets `segments` segments of a page each, and unmaps their memory.
fn lost_segments(fixture: &MappingFixture, segments: usize) -> Result<(), String> {
    let memory = map(NOWHERE, segments * PAGE)?;
    for page in 0..segments {
        let guest = GUEST + (page * PAGE) as u64;
        fixture
            .set(ram(guest, &memory, page * PAGE, PAGE))
            .expect("SET_MEMSEG");
    }
    drop(memory);
    assert_eq!(fixture.mapped_bytes(), 0);
    Ok(())
}

/// The maximum number of segments of a VM.
const SEGMENTS: usize = 4096;

/// If all segments of a VM have lost their memory, new segments can be set.
pub fn lost_segments_make_room() -> Outcome {
    let fixture = need!(MappingFixture::new());
    need!(lost_segments(&fixture, SEGMENTS));
    let ordinary = GuestMemory::anonymous(PAGE);
    ordinary.number_pages(1);
    let place = 0x8000_0000;
    fixture
        .set(ram(place, &ordinary, 0, PAGE))
        .expect("SET_MEMSEG");
    fixture.assert_shows(place, &ordinary, 0, PAGE);
    fixture.destroy();
    Outcome::Passed
}

/// Segments that have lost their memory also make room for the second part of a segment that is
/// split.
pub fn split_among_lost_segments() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let ordinary = GuestMemory::anonymous(3 * PAGE);
    ordinary.number_pages(1);
    let place = 0x8000_0000;
    need!(lost_segments(&fixture, SEGMENTS - 1));
    fixture
        .set(ram(place, &ordinary, 0, 3 * PAGE))
        .expect("SET_MEMSEG");
    let at = |page: usize| place + (page * PAGE) as u64;
    fixture
        .unset(ram(at(1), &ordinary, PAGE, PAGE))
        .expect("UNSET_MEMSEG");
    let mapped = [0, 1, 2].map(|page| fixture.probe.mapping(fixture.vmid, at(page)).mapped);
    assert_eq!(mapped, [1, 0, 1]);
    assert_eq!(fixture.pinned(), 2);
    fixture.destroy();
    Outcome::Passed
}

/// A process that has inherited the file sets its own memory and ends. The VM continues without
/// that memory.
pub fn process_ends() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    let (mut pipe, writer) = std::io::pipe().expect("a pipe");
    let (checked_reader, checked) = std::io::pipe().expect("a pipe");
    let memory = need!(map(NOWHERE, 2 * PAGE));
    let mut segment = whole(&memory);
    segment.user_vm_pa = GUEST;
    // SAFETY: The child makes a request, writes a byte and ends. It allocates nothing.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let set = fixture.device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment);
        let _ = (&writer).write(&[u8::from(set.is_ok())]);
        // The process and its address space end when the parent has checked the mapping.
        drop(checked);
        let _ = (&checked_reader).read(&mut [0]);
        // SAFETY: This ends the process at once.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    let mut result = [0];
    std::io::Read::read_exact(&mut pipe, &mut result).expect("the child's result");
    assert_eq!(result, [1], "SET_MEMSEG in the child");
    assert_eq!(fixture.mapped_bytes(), 2 * PAGE as u64);
    drop(checked);
    let mut status = 0;
    // SAFETY: This waits for a child of this process, and writes to a local variable.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_lost(&fixture, &trace, 2);
    fixture.destroy();
    Outcome::Passed
}

/// A process whose VM has memory without kernel pages is killed. The driver destroys the VM.
pub fn killed() -> Outcome {
    let mut victim = need!(harness::start(harness::helper("victim")));
    victim.kill().expect("SIGKILL");
    victim.wait().expect("the victim");
    let probe = need!(acrn_selftests::probe::Probe::open());
    probe.assert_no_vms();
    Outcome::Passed
}

/// The process that [`killed`] kills.
pub fn victim() -> Outcome {
    let mapped = need!(Mapped::new(4));
    harness::ready();
    thread::sleep(Duration::from_secs(30));
    panic!(
        "the process was not killed, {} bytes are mapped",
        mapped.fixture.mapped_bytes()
    );
}

/// One thread repeatedly unmaps and maps memory while another thread sets the segment. In the end,
/// no memory is mapped into the guest.
pub fn races_with_set() -> Outcome {
    const TIME: Duration = Duration::from_secs(2);
    let fixture = need!(MappingFixture::new());
    let file = need!(
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/mem")
            .map_err(|error| format!("/dev/mem: {error}"))
    );
    let place = GuestMemory::anonymous(PAGE);
    // There is no page at this address, so no page can be pinned.
    place.unmap(0, PAGE);
    let segment = whole(&place);
    let over = &AtomicBool::new(false);
    let counts = &[const { AtomicU64::new(0) }; 2];
    let [set, refused] = counts;
    let both_occurred = || counts.iter().all(|count| count.load(Ordering::Relaxed) > 0);
    let device: &Device = &fixture.device;
    thread::scope(|scope| {
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let count = match device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment.clone()) {
                    Ok(()) => set,
                    Err(Errno::EFAULT | Errno::EINVAL | Errno::EEXIST) => refused,
                    Err(error) => panic!("SET_MEMSEG: {error}"),
                };
                count.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
        });
        let end = Instant::now() + TIME;
        while Instant::now() < end || !both_occurred() {
            let device = GuestMemory::of_file_from(&file, NOWHERE, PAGE).expect("mmap");
            place.move_page(0, &device, 0);
            thread::yield_now();
            place.unmap(0, PAGE);
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("set {set:?} times, refused {refused:?} times");
    assert_eq!(fixture.mapped_bytes(), 0, "bytes that are still mapped");
    fixture.destroy();
    Outcome::Passed
}
