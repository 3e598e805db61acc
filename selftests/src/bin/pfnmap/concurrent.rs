// SPDX-License-Identifier: GPL-2.0

//! Tests of events during a command, at a moment that the test chooses.
//!
//! SET_MEMSEG over memory of a process whose address space changes waits for the end of that
//! change. It waits after it has examined the new memory, and before it makes the hypercall.

use std::thread;

use acrn_selftests::{
    device::Device,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{DESTROY_VM, SET_MEMORY_REGIONS},
    mapping_fixture::{GUEST, MappingFixture, locked, ram, whole},
    need,
    probe::fault,
    status::Status,
    trace::Trace,
    waiter::{SleepingCommand, until},
};
use acrn_uapi::{
    acrn_vm_memmap,
    ioctl::{
        ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG,
    },
};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

use crate::{
    owner::{Busy, Owner},
    physical::{NOWHERE, map},
};

/// The address of the memory that SET_MEMSEG replaces, and that of the memory of the busy process.
const OLD: u64 = NOWHERE + 0x100_0000;
const UNUSED: u64 = NOWHERE + 0x200_0000;

/// Issues SET_MEMSEG of `segment` in a thread of its own. The command waits for [`Busy`] after it
/// has unset the old memory.
fn set(fixture: &MappingFixture, segment: acrn_vm_memmap) -> SleepingCommand<Result<(), Errno>> {
    let trace = Trace::start(&fixture.probe);
    let file = Device::sharing(&fixture.device);
    let mut segment = segment;
    SleepingCommand::start(
        || !trace.calls(SET_MEMORY_REGIONS).is_empty(),
        move || file.with(ACRN_IOCTL_SET_MEMSEG, &mut segment),
    )
}

/// If the process unmaps the new memory after SET_MEMSEG has examined it, the guest does not get
/// the memory.
pub fn unmapped_while_set() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let (old, unused) = (need!(map(OLD, PAGE)), need!(map(UNUSED, PAGE)));
    let new = need!(map(NOWHERE, 2 * PAGE));
    let busy = need!(Busy::start(&[(&fixture.device, whole(&old))], &unused));
    let set = set(&fixture, whole(&new));
    drop(new);
    busy.end(&fixture.probe);
    let refused = set.result();
    assert!(
        matches!(refused, Err(Errno::EFAULT | Errno::EINVAL)),
        "{refused:?}"
    );
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If the process maps other memory at the same address after SET_MEMSEG has examined the first
/// memory, the guest gets the other memory.
pub fn replaced_while_set() -> Outcome {
    const OTHER: u64 = NOWHERE + 0x300_0000;
    let fixture = need!(MappingFixture::new());
    let (old, unused) = (need!(map(OLD, PAGE)), need!(map(UNUSED, PAGE)));
    let (new, other) = (need!(map(NOWHERE, PAGE)), need!(map(OTHER, PAGE)));
    let busy = need!(Busy::start(&[(&fixture.device, whole(&old))], &unused));
    let set = set(&fixture, whole(&new));
    new.move_page(0, &other, 0);
    busy.end(&fixture.probe);
    assert_eq!(set.result(), Ok(()));
    let query = fixture.probe.mapping(fixture.vmid, GUEST);
    assert_eq!((query.mapped, query.service_vm_pa), (1, OTHER));
    drop(new);
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If the driver learns during SET_MEMSEG that the VM is destroyed, and another VM gets its id,
/// that other VM gets no memory.
pub fn vm_replaced_while_set() -> Outcome {
    let (old, unused) = (need!(map(OLD, PAGE)), need!(map(UNUSED, PAGE)));
    let (new, pinned) = (need!(map(NOWHERE, PAGE)), GuestMemory::anonymous(PAGE));
    pinned.number_pages(1);
    for memory in [&new, &pinned] {
        let fixture = need!(MappingFixture::new());
        let busy = need!(Busy::start(&[(&fixture.device, whole(&old))], &unused));
        fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        fixture.probe.push_fault(Fault {
            after: 1,
            ..fault(DESTROY_VM, -110)
        });
        let destroyed = fixture.device.plain(ACRN_IOCTL_DESTROY_VM);
        assert_eq!(destroyed, Err(Errno::ETIMEDOUT));
        // The hypervisor has no such VM, but reports that it has unmapped the old memory.
        fixture.probe.push_fault(fault(SET_MEMORY_REGIONS, 0));
        let set = set(&fixture, whole(memory));
        let next = thread::spawn(MappingFixture::new);
        until("the driver knows that the VM is destroyed", || {
            Status::of(&fixture.device).text("state") == "ended"
        });
        busy.end(&fixture.probe);
        assert_eq!(set.result(), Err(Errno::ENODEV));
        let next = need!(next.join().expect("CREATE_VM"));
        assert_eq!(next.vmid, fixture.vmid);
        assert_eq!(next.mapped_bytes(), 0);
        next.destroy();
    }
    Outcome::Passed
}

/// A process that unmaps memory during DESTROY_VM waits for the command. Afterwards it makes no
/// hypercall.
pub fn unmapped_while_destroyed() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(map(NOWHERE, 2 * PAGE));
    let mut owner = Owner::start(&[(&fixture.device, whole(&memory))], &memory);
    fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&fixture.probe);
    let file = Device::sharing(&fixture.device);
    let destroy = move || file.plain(ACRN_IOCTL_DESTROY_VM);
    let held = HeldHypercall::start(&fixture.probe, DESTROY_VM, fixture.vmid, destroy);
    owner.unmap();
    until("munmap waits", || owner.waits_or_is_gone());
    assert_eq!(trace.calls(SET_MEMORY_REGIONS).len(), 0, "hypercalls");
    assert_eq!(held.release(), Ok(()), "DESTROY_VM");
    owner.join();
    assert_eq!(trace.calls(SET_MEMORY_REGIONS).len(), 0, "hypercalls");
    Outcome::Passed
}

/// UNSET_MEMSEG of memory of a process whose address space changes uncharges the memory when the
/// change is over. Other commands for the VM do not wait for that.
pub fn unpinned_without_a_lock() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let (unused, memory, other) = (
        need!(map(UNUSED, PAGE)),
        GuestMemory::shared(4 * PAGE),
        GuestMemory::anonymous(PAGE),
    );
    let before = locked();
    let busy = need!(Busy::start(&[(&fixture.device, whole(&memory))], &unused));
    assert_eq!(
        fixture.pinned(),
        4 + 1,
        "pinned pages, including a request page"
    );
    let trace = Trace::start(&fixture.probe);
    let file = Device::sharing(&fixture.device);
    let mut segment = whole(&memory);
    let unset = SleepingCommand::start(
        || !trace.calls(SET_MEMORY_REGIONS).is_empty(),
        move || file.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment),
    );
    let file = Device::sharing(&fixture.device);
    let mut segment = ram(4 * GUEST, &other, 0, PAGE);
    let set = thread::spawn(move || file.with(ACRN_IOCTL_SET_MEMSEG, &mut segment));
    until("SET_MEMSEG returns", || set.is_finished());
    assert_eq!(set.join().expect("SET_MEMSEG"), Ok(()));
    busy.end(&fixture.probe);
    assert_eq!(unset.result(), Ok(()));
    fixture
        .unset(ram(4 * GUEST, &other, 0, PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}
