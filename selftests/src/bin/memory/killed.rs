// SPDX-License-Identifier: GPL-2.0

//! Tests of a process that is killed in the middle of SET_MEMSEG or UNSET_MEMSEG. The process
//! shares the VM with another process, and the VM continues.

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    mapping_fixture::{GUEST, MappingFixture, as_mmio, ram, scattered_shared, whole},
    need,
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{
    acrn_vm_memmap,
    ioctl::{ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG},
};

/// Makes a request in another process, and kills that process during the first SET_MEMORY_REGIONS.
fn kill_in_the_middle(fixture: &MappingFixture, request: u32, mut segment: acrn_vm_memmap) {
    fixture.probe.hold(SET_MEMORY_REGIONS, fixture.vmid);
    // SAFETY: The child makes a request and ends. It allocates nothing.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = fixture.device.with(request, &mut segment);
        // SAFETY: This ends the process at once.
        unsafe { libc::_exit(0) };
    }
    until("the hypercall arrives", || fixture.probe.is_held());
    // SAFETY: This is a child of this process that was not waited for.
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
    fixture.probe.release();
    let mut status = 0;
    // SAFETY: This waits for a child of this process, and writes to a local variable.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status), "the child was not killed");
}

/// SET_MEMSEG needs more than one array of regions. If its process is killed, the driver unmaps the
/// regions that it has mapped.
pub fn killed_while_set() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = scattered_shared(2500);
    let trace = Trace::start(&fixture.probe);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    let all = trace.calls(SET_MEMORY_REGIONS).len();
    assert!(all > 2, "{all} hypercalls");
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    let trace = Trace::start(&fixture.probe);
    kill_in_the_middle(&fixture, ACRN_IOCTL_SET_MEMSEG, whole(&memory));
    fixture.assert_nothing_left();
    let calls = trace.calls(SET_MEMORY_REGIONS).len();
    assert!(
        calls <= 2,
        "{calls} hypercalls instead of one to map and one to unmap"
    );
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture.assert_shows(GUEST, &memory, 0, memory.len());
    fixture.destroy();
    Outcome::Passed
}

/// If the process is killed during UNSET_MEMSEG of many segments, some segments are unmapped, and
/// the others are still mapped.
pub fn killed_while_unset() -> Outcome {
    const SEGMENTS: usize = 64;
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(SEGMENTS * PAGE);
    memory.number_pages(1);
    for page in 0..SEGMENTS {
        let guest = GUEST + (2 * page * PAGE) as u64;
        fixture
            .set(ram(guest, &memory, page * PAGE, PAGE))
            .expect("SET_MEMSEG");
    }
    let all = as_mmio(acrn_vm_memmap {
        len: (2 * SEGMENTS * PAGE) as u64,
        ..whole(&memory)
    });
    kill_in_the_middle(&fixture, ACRN_IOCTL_UNSET_MEMSEG, all);
    assert_eq!(fixture.mapped_bytes(), ((SEGMENTS - 1) * PAGE) as u64);
    assert_eq!(fixture.pinned(), SEGMENTS as i64 - 1);
    fixture.unset(all).expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}
