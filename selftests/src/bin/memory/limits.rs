// SPDX-License-Identifier: GPL-2.0

//! Pinned memory counts as locked memory (A19).

use std::fs;

use acrn_selftests::{
    area::{Area, PAGE},
    harness::Outcome,
    need, skip,
    trace::Trace,
};
use nix::{
    errno::Errno,
    sys::resource::{Resource, setrlimit},
};

use acrn_selftests::bench::{Bench, GUEST, ram, whole};

/// Locked memory of this process in KiB.
fn locked() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:")?.split_ascii_whitespace().next())
        .and_then(|number| number.parse().ok())
        .expect("VmLck in /proc/self/status")
}

/// VmLck goes up by what is pinned, and back down: with the segment, and with the VM.
pub fn counted() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(64 * PAGE);
    let before = locked();
    bench.set(whole(&area)).expect("SET_MEMSEG");
    assert_eq!(locked() - before, 64 * 4);
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    assert_eq!(locked() - before, 64 * 4);
    bench.destroy();
    assert!(locked() <= before, "still counted after DESTROY_VM");
    Outcome::Passed
}

/// What fails is not counted.
pub fn failure_not_counted() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(64 * PAGE);
    area.unmap(63 * PAGE, PAGE);
    let before = locked();
    assert_eq!(bench.set(whole(&area)), Err(Errno::EFAULT));
    assert_eq!(locked(), before);
    bench.destroy();
    Outcome::Passed
}

/// RLIMIT_MEMLOCK holds for who lacks CAP_IPC_LOCK.
pub fn limit_holds() -> Outcome {
    const LIMIT: u64 = 256 << 10;
    let bench = need!(Bench::new());
    let large = Area::anonymous(LIMIT as usize + PAGE);
    let small = Area::anonymous(16 * PAGE);
    setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT, LIMIT).expect("setrlimit");

    // SAFETY: only changes this process's credentials. To leave user 0 takes all capabilities away.
    if unsafe { libc::seteuid(65534) } != 0 {
        skip!("cannot drop CAP_IPC_LOCK: {}", Errno::last());
    }
    let trace = Trace::start(&bench.probe);
    assert_eq!(bench.set(whole(&large)), Err(Errno::ENOMEM));
    assert_eq!(trace.ids(), [], "hypercalls");
    assert_eq!(bench.mapped_bytes(), 0);
    bench
        .set(whole(&small))
        .expect("SET_MEMSEG within the limit");

    // SAFETY: as above; this brings them back.
    assert_eq!(unsafe { libc::seteuid(0) }, 0);
    bench
        .set(ram(4 * GUEST, &large, 0, large.len()))
        .expect("SET_MEMSEG with CAP_IPC_LOCK");
    bench.destroy();
    Outcome::Passed
}
