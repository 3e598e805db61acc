// SPDX-License-Identifier: GPL-2.0

//! A process is killed in the middle of SET_MEMSEG or UNSET_MEMSEG. The VM belongs to another one as well, and goes
//! on.

use acrn_selftests::{
    area::{Area, PAGE},
    bench::{Bench, GUEST, as_mmio, ram, scattered_shared, whole},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    need,
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{
    acrn_vm_memmap,
    ioctl::{ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG},
};

/// Makes a request in another process, which is killed while the first SET_MEMORY_REGIONS of it is under way.
fn kill_in_the_middle(bench: &Bench, request: u32, mut segment: acrn_vm_memmap) {
    bench.probe.hold(SET_MEMORY_REGIONS, bench.vmid);
    // SAFETY: the child makes a request and ends; it allocates nothing.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = bench.device.with(request, &mut segment);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(0) };
    }
    until("the hypercall arrives", || bench.probe.is_held());
    // SAFETY: a child of ours, which was not waited for.
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
    bench.probe.release();
    let mut status = 0;
    // SAFETY: waits for a child of ours, and writes to a number of ours.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status), "it went on to its end");
}

/// SET_MEMSEG of more than one array of regions: what was mapped is taken away again.
pub fn while_set() -> Outcome {
    let bench = need!(Bench::new());
    let area = scattered_shared(2500);
    let trace = Trace::start(&bench.probe);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    let all = trace.calls(SET_MEMORY_REGIONS).len();
    assert!(all > 2, "{all} hypercalls");
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    let trace = Trace::start(&bench.probe);
    kill_in_the_middle(&bench, ACRN_IOCTL_SET_MEMSEG, whole(&area));
    bench.assert_nothing_left();
    let calls = trace.calls(SET_MEMORY_REGIONS).len();
    assert!(calls <= 2, "{calls} hypercalls: one to map, one to undo it");
    bench.set(whole(&area)).expect("SET_MEMSEG");
    bench.assert_shows(GUEST, &area, 0, area.len());
    bench.destroy();
    Outcome::Passed
}

/// UNSET_MEMSEG of many segments: some are gone, and the others are there.
pub fn while_unset() -> Outcome {
    const SEGMENTS: usize = 64;
    let bench = need!(Bench::new());
    let area = Area::anonymous(SEGMENTS * PAGE);
    area.number_pages(1);
    for page in 0..SEGMENTS {
        let guest = GUEST + (2 * page * PAGE) as u64;
        bench
            .set(ram(guest, &area, page * PAGE, PAGE))
            .expect("SET_MEMSEG");
    }
    let all = as_mmio(acrn_vm_memmap {
        len: (2 * SEGMENTS * PAGE) as u64,
        ..whole(&area)
    });
    kill_in_the_middle(&bench, ACRN_IOCTL_UNSET_MEMSEG, all);
    assert_eq!(bench.mapped_bytes(), ((SEGMENTS - 1) * PAGE) as u64);
    assert_eq!(bench.pinned(), SEGMENTS as i64 - 1);
    bench.unset(all).expect("UNSET_MEMSEG");
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}
