// SPDX-License-Identifier: GPL-2.0

//! Pinned memory counts as locked memory (A19).

use std::io::{Read, Write};

use acrn_selftests::{
    area::{Area, HUGE_PAGE, PAGE},
    harness::Outcome,
    missing::Missing,
    need, skip,
    trace::Trace,
    waiter::{Asleep, until},
};
use nix::{
    errno::Errno,
    sys::resource::{Resource, setrlimit},
};

use acrn_selftests::{
    bench::{Bench, GUEST, locked, locked_by, ram, whole},
    device::Device,
};
use acrn_uapi::ioctl::{ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG};

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
    let before = locked();
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
    assert_eq!(locked() - before, 16 * 4);
    bench
        .set(ram(4 * GUEST, &large, 0, large.len()))
        .expect("SET_MEMSEG with CAP_IPC_LOCK");
    bench.destroy();
    Outcome::Passed
}

/// At the limit, what is there may be set again, and nothing else.
pub fn same_again() -> Outcome {
    let bench = need!(Bench::new());
    let areas = [Area::anonymous(64 * PAGE), Area::anonymous(64 * PAGE)];
    for (area, salt) in areas.iter().zip([0x1000, 0x2000]) {
        area.number_pages(salt);
    }
    let limit = (locked() << 10) + areas[0].len() as u64;
    setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).expect("setrlimit");
    // SAFETY: only changes this process's credentials. To leave user 0 takes all capabilities away.
    if unsafe { libc::seteuid(65534) } != 0 {
        skip!("cannot drop CAP_IPC_LOCK: {}", Errno::last());
    }
    bench.set(whole(&areas[0])).expect("SET_MEMSEG");
    let trace = Trace::start(&bench.probe);
    let again = bench.set(whole(&areas[0]));
    let other = bench.set(whole(&areas[1]));
    // SAFETY: as above; this brings them back.
    assert_eq!(unsafe { libc::seteuid(0) }, 0);
    assert_eq!((again, other), (Ok(()), Err(Errno::ENOMEM)));
    assert_eq!(trace.ids(), [], "hypercalls");
    bench.assert_shows(GUEST, &areas[0], 0, areas[0].len());
    assert_eq!(bench.pinned(), 64);
    bench.destroy();
    Outcome::Passed
}

/// hugetlb memory is reserved for its user already: as much as there is of it, within a limit of 8 MiB and without
/// CAP_IPC_LOCK. Other memory is held to the limit all the same.
pub fn hugetlb() -> Outcome {
    const LIMIT: u64 = 8 << 20;
    let bench = need!(Bench::new());
    let reserved = need!(Area::huge(16 * HUGE_PAGE));
    let large = Area::anonymous(LIMIT as usize + PAGE);
    let before = locked();
    setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT, LIMIT).expect("setrlimit");
    // SAFETY: only changes this process's credentials. To leave user 0 takes all capabilities away.
    if unsafe { libc::seteuid(65534) } != 0 {
        skip!("cannot drop CAP_IPC_LOCK: {}", Errno::last());
    }
    bench
        .set(whole(&reserved))
        .expect("SET_MEMSEG of hugetlb memory");
    let set = bench.set(ram(2 << 30, &large, 0, large.len()));
    // SAFETY: as above; this brings them back.
    assert_eq!(unsafe { libc::seteuid(0) }, 0);
    assert_eq!(set, Err(Errno::ENOMEM));
    assert_eq!(locked(), before);
    assert_eq!(bench.pinned(), (reserved.len() / PAGE) as i64);
    // A part of it is not given back to the limit either.
    bench
        .unset(ram(GUEST, &reserved, 0, HUGE_PAGE + PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    bench.destroy();
    assert_eq!(locked(), before - 4, "all but the request page");
    Outcome::Passed
}

/// One segment of small pages and hugetlb memory: the small ones are charged, also when parts go.
pub fn mixed() -> Outcome {
    let bench = need!(Bench::new());
    let area = need!(Area::with_hugetlb_in_the_middle());
    let small = (area.len() - HUGE_PAGE) / PAGE;
    let before = locked();
    bench.set(whole(&area)).expect("SET_MEMSEG");
    assert_eq!(locked() - before, (small * 4) as u64);
    // Its first page, and one inside of the huge one.
    bench
        .unset(ram(GUEST, &area, 0, PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!(locked() - before, ((small - 1) * 4) as u64);
    let inside = ram(GUEST + HUGE_PAGE as u64, &area, HUGE_PAGE, PAGE);
    bench.unset(inside).expect("UNSET_MEMSEG");
    assert_eq!(locked() - before, ((small - 1) * 4) as u64);
    let last = area.len() - PAGE;
    bench
        .unset(ram(GUEST + last as u64, &area, last, PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!(locked() - before, ((small - 2) * 4) as u64);
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}

/// A VM may have 4096 segments.
pub fn segments() -> Outcome {
    const SEGMENTS: usize = 4096;
    let bench = need!(Bench::new());
    let area = Area::anonymous(4 * PAGE);
    area.number_pages(1);
    let at = |index: usize| ram(GUEST + (4 * index * PAGE) as u64, &area, 0, 3 * PAGE);
    for index in 0..SEGMENTS {
        bench.set(at(index)).expect("SET_MEMSEG");
    }
    assert_eq!(bench.set(at(SEGMENTS)), Err(Errno::ENOSPC));
    // That would make two of one.
    let middle = ram(GUEST + PAGE as u64, &area, PAGE, PAGE);
    assert_eq!(bench.unset(middle), Err(Errno::ENOSPC));
    assert_eq!(bench.pinned(), 3 * SEGMENTS as i64);
    bench.set(at(7)).expect("SET_MEMSEG of what is there");
    bench.unset(at(0)).expect("UNSET_MEMSEG");
    bench.set(at(SEGMENTS)).expect("SET_MEMSEG");
    bench.destroy();
    Outcome::Passed
}

/// Memory of another process is charged to that process, and uncharged from it, also if we unset it.
pub fn of_another_process() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(64 * PAGE);
    let before = locked();
    let (mut said, saying) = std::io::pipe().expect("a pipe");
    let mut segment = whole(&area);
    // SAFETY: the child makes a request, writes a byte and waits to be killed; it allocates nothing.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let set = bench.device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment);
        let _ = (&saying).write(&[u8::from(set.is_ok())]);
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }
    let mut word = [0];
    said.read_exact(&mut word).expect("the child's word");
    assert_eq!(word, [1], "SET_MEMSEG in the child");
    let child_name = child.to_string();
    assert_eq!((locked(), locked_by(&child_name)), (before, 64 * 4));
    bench
        .unset(ram(GUEST, &area, 0, 16 * PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!((locked(), locked_by(&child_name)), (before, 48 * 4));
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    assert_eq!((locked(), locked_by(&child_name)), (before, 0));
    // SAFETY: a child of ours, which was not waited for; writes to nothing of ours.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    bench.destroy();
    Outcome::Passed
}

/// At the limit the driver looks whether the pages are there already, which may have to wait for pages of the process:
/// other commands go on meanwhile.
pub fn looked_at_without_a_lock() -> Outcome {
    /// More than what is pinned at a time, so that the limit is found before a page is missing.
    const PRESENT: usize = 600 * PAGE;
    let bench = need!(Bench::new());
    let small = Area::anonymous(PAGE);
    let large = need!(Missing::behind(PRESENT, 2 * PRESENT));
    for offset in (0..PRESENT).step_by(PAGE) {
        large.write::<u8>(offset, 1);
    }
    bench.set(whole(&small)).expect("SET_MEMSEG");
    let limit = (locked() << 10) + 64 * PAGE as u64;
    setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).expect("setrlimit");
    let file = Device::sharing(&bench.device);
    let mut segment = whole(&large);
    let set = move || {
        // SAFETY: only changes this thread's credentials: to leave user 0 takes all capabilities away. The C library
        // would have to ask each thread, also one that waits for a page.
        let left = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
        assert_eq!(left, 0, "setresuid");
        file.with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
    };
    let set = Asleep::start(|| true, set);
    large.until_wanted();
    let file = Device::sharing(&bench.device);
    let mut segment = whole(&small);
    let unset = std::thread::spawn(move || file.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment));
    until("UNSET_MEMSEG returns", || unset.is_finished());
    assert_eq!(unset.join().expect("UNSET_MEMSEG"), Ok(()));
    let _large = large.provide();
    assert_eq!(set.result(), Err(Errno::ENOMEM));
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}
