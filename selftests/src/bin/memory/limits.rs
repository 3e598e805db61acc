// SPDX-License-Identifier: GPL-2.0

//! Tests that pinned memory counts as locked memory (A19).

use std::io::{Read, Write};

use acrn_selftests::{
    guest_memory::{GuestMemory, HUGE_PAGE, PAGE},
    harness::Outcome,
    need, skip,
    trace::Trace,
    userfault::UserfaultMemory,
    waiter::{SleepingCommand, until},
};
use nix::{
    errno::Errno,
    sys::resource::{Resource, setrlimit},
};

use acrn_selftests::{
    device::Device,
    mapping_fixture::{GUEST, MappingFixture, locked, locked_by, ram, whole},
};
use acrn_uapi::{
    ACRN_MEM_ACCESS_READ, ACRN_MEM_TYPE_WB, acrn_vm_memmap,
    ioctl::{ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG},
};

/// VmLck grows by the pinned memory, and shrinks again when the segment is unset or the VM is
/// destroyed.
pub fn locked_memory_counted() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(64 * PAGE);
    let before = locked();
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    assert_eq!(locked() - before, 64 * 4);
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    assert_eq!(locked() - before, 64 * 4);
    fixture.destroy();
    assert!(
        locked() <= before,
        "memory is still charged after DESTROY_VM"
    );
    Outcome::Passed
}

/// Memory that SET_MEMSEG has failed to set is not charged.
pub fn locked_memory_of_failure() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(64 * PAGE);
    memory.unmap(63 * PAGE, PAGE);
    let before = locked();
    assert_eq!(fixture.set(whole(&memory)), Err(Errno::EFAULT));
    assert_eq!(locked(), before);
    fixture.destroy();
    Outcome::Passed
}

/// RLIMIT_MEMLOCK applies to processes without CAP_IPC_LOCK.
pub fn locked_memory_limit() -> Outcome {
    const LIMIT: u64 = 256 << 10;
    let fixture = need!(MappingFixture::new());
    let large = GuestMemory::anonymous(LIMIT as usize + PAGE);
    let small = GuestMemory::anonymous(16 * PAGE);
    let before = locked();
    setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT, LIMIT).expect("setrlimit");

    // SAFETY: This only changes this process's credentials. A user other than 0 has no
    // capabilities.
    if unsafe { libc::seteuid(65534) } != 0 {
        skip!("cannot drop CAP_IPC_LOCK: {}", Errno::last());
    }
    let trace = Trace::start(&fixture.probe);
    assert_eq!(fixture.set(whole(&large)), Err(Errno::ENOMEM));
    trace.assert_no_hypercalls();
    assert_eq!(fixture.mapped_bytes(), 0);
    fixture
        .set(whole(&small))
        .expect("SET_MEMSEG within the limit");

    // SAFETY: As above. This restores the credentials.
    assert_eq!(unsafe { libc::seteuid(0) }, 0);
    assert_eq!(locked() - before, 16 * 4);
    fixture
        .set(ram(4 * GUEST, &large, 0, large.len()))
        .expect("SET_MEMSEG with CAP_IPC_LOCK");
    fixture.destroy();
    Outcome::Passed
}

/// At the limit, the same segment can be set again, but no other segment.
pub fn locked_memory_of_same() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let areas = [
        GuestMemory::anonymous(64 * PAGE),
        GuestMemory::anonymous(64 * PAGE),
    ];
    for (memory, salt) in areas.iter().zip([0x1000, 0x2000]) {
        memory.number_pages(salt);
    }
    let limit = (locked() << 10) + areas[0].len() as u64;
    setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).expect("setrlimit");
    // SAFETY: This only changes this process's credentials. A user other than 0 has no
    // capabilities.
    if unsafe { libc::seteuid(65534) } != 0 {
        skip!("cannot drop CAP_IPC_LOCK: {}", Errno::last());
    }
    fixture.set(whole(&areas[0])).expect("SET_MEMSEG");
    let trace = Trace::start(&fixture.probe);
    let again = fixture.set(whole(&areas[0]));
    let other = fixture.set(whole(&areas[1]));
    // SAFETY: As above. This restores the credentials.
    assert_eq!(unsafe { libc::seteuid(0) }, 0);
    assert_eq!((again, other), (Ok(()), Err(Errno::ENOMEM)));
    trace.assert_no_hypercalls();
    fixture.assert_shows(GUEST, &areas[0], 0, areas[0].len());
    assert_eq!(fixture.pinned(), 64);
    fixture.destroy();
    Outcome::Passed
}

/// hugetlb memory is reserved for its user already. All of it can be set with a limit of 8 MiB and
/// without CAP_IPC_LOCK, but other memory is limited.
pub fn locked_memory_of_hugetlb() -> Outcome {
    const LIMIT: u64 = 8 << 20;
    let fixture = need!(MappingFixture::new());
    let reserved = need!(GuestMemory::huge(16 * HUGE_PAGE));
    let large = GuestMemory::anonymous(LIMIT as usize + PAGE);
    let before = locked();
    setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT, LIMIT).expect("setrlimit");
    // SAFETY: This only changes this process's credentials. A user other than 0 has no
    // capabilities.
    if unsafe { libc::seteuid(65534) } != 0 {
        skip!("cannot drop CAP_IPC_LOCK: {}", Errno::last());
    }
    fixture
        .set(whole(&reserved))
        .expect("SET_MEMSEG of hugetlb memory");
    let set = fixture.set(ram(2 << 30, &large, 0, large.len()));
    // SAFETY: As above. This restores the credentials.
    assert_eq!(unsafe { libc::seteuid(0) }, 0);
    assert_eq!(set, Err(Errno::ENOMEM));
    assert_eq!(locked(), before);
    assert_eq!(fixture.pinned(), (reserved.len() / PAGE) as i64);
    // Unsetting a part of the hugetlb memory does not reduce the locked memory either.
    fixture
        .unset(ram(GUEST, &reserved, 0, HUGE_PAGE + PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    fixture.destroy();
    assert_eq!(
        locked(),
        before - 4,
        "locked memory without the request page"
    );
    Outcome::Passed
}

/// If one segment has small pages and hugetlb memory, only the small pages are charged, even when
/// parts are unset.
pub fn locked_memory_of_mixed() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::with_hugetlb_in_the_middle());
    let small = (memory.len() - HUGE_PAGE) / PAGE;
    let before = locked();
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    assert_eq!(locked() - before, (small * 4) as u64);
    // The first page, and a page inside the huge page.
    fixture
        .unset(ram(GUEST, &memory, 0, PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!(locked() - before, ((small - 1) * 4) as u64);
    let inside = ram(GUEST + HUGE_PAGE as u64, &memory, HUGE_PAGE, PAGE);
    fixture.unset(inside).expect("UNSET_MEMSEG");
    assert_eq!(locked() - before, ((small - 1) * 4) as u64);
    let last = memory.len() - PAGE;
    fixture
        .unset(ram(GUEST + last as u64, &memory, last, PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!(locked() - before, ((small - 2) * 4) as u64);
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// A VM can have at most 4096 segments.
pub fn segments_limit() -> Outcome {
    const SEGMENTS: usize = 4096;
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(4 * PAGE);
    memory.number_pages(1);
    let at = |index: usize| ram(GUEST + (4 * index * PAGE) as u64, &memory, 0, 3 * PAGE);
    for index in 0..SEGMENTS {
        fixture.set(at(index)).expect("SET_MEMSEG");
    }
    assert_eq!(fixture.set(at(SEGMENTS)), Err(Errno::ENOSPC));
    // This UNSET_MEMSEG would split a segment in two.
    let middle = ram(GUEST + PAGE as u64, &memory, PAGE, PAGE);
    assert_eq!(fixture.unset(middle), Err(Errno::ENOSPC));
    assert_eq!(fixture.pinned(), 3 * SEGMENTS as i64);
    fixture.set(at(7)).expect("SET_MEMSEG of the same segment");
    fixture.unset(at(0)).expect("UNSET_MEMSEG");
    fixture.set(at(SEGMENTS)).expect("SET_MEMSEG");
    fixture.destroy();
    Outcome::Passed
}

/// Memory of another process is charged to that process. It is uncharged from that process even if
/// this process unsets it.
pub fn locked_memory_of_another_process() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(64 * PAGE);
    let before = locked();
    let (mut result_reader, result_writer) = std::io::pipe().expect("a pipe");
    let mut segment = whole(&memory);
    // SAFETY: The child makes a request, writes a byte and waits to be killed. It allocates
    // nothing.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let set = fixture.device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment);
        let _ = (&result_writer).write(&[u8::from(set.is_ok())]);
        loop {
            // SAFETY: This waits for a signal.
            unsafe { libc::pause() };
        }
    }
    let mut result = [0];
    result_reader
        .read_exact(&mut result)
        .expect("the child's result");
    assert_eq!(result, [1], "SET_MEMSEG in the child");
    let child_name = child.to_string();
    assert_eq!((locked(), locked_by(&child_name)), (before, 64 * 4));
    fixture
        .unset(ram(GUEST, &memory, 0, 16 * PAGE))
        .expect("UNSET_MEMSEG");
    assert_eq!((locked(), locked_by(&child_name)), (before, 48 * 4));
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    assert_eq!((locked(), locked_by(&child_name)), (before, 0));
    // SAFETY: This is a child of this process that was not waited for. Nothing is written.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    fixture.destroy();
    Outcome::Passed
}

/// More than one batch of pages, so that the driver reaches the limit before a page is missing.
const PRESENT: usize = 600 * PAGE;

/// Returns memory of which the first half is present. The error says why the test must be skipped.
fn half_missing() -> Result<UserfaultMemory, String> {
    let memory = UserfaultMemory::behind(PRESENT, 2 * PRESENT)?;
    for offset in (0..PRESENT).step_by(PAGE) {
        memory.write::<u8>(offset, 1);
    }
    Ok(memory)
}

/// Returns a command that sets `segment` without CAP_IPC_LOCK, and can lock 64 more pages.
fn set_at_limit(
    fixture: &MappingFixture,
    mut segment: acrn_vm_memmap,
) -> impl FnOnce() -> Result<(), Errno> + Send + use<> {
    let limit = (locked() << 10) + 64 * PAGE as u64;
    setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).expect("setrlimit");
    let file = Device::sharing(&fixture.device);
    move || {
        // SAFETY: This only changes this thread's credentials. A user other than 0 has no
        // capabilities. The C library's function would wait for each thread, including the thread
        // that waits for a page.
        let left = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
        assert_eq!(left, 0, "setresuid");
        file.with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
    }
}

/// At the limit, memory that is not set already is not even pinned for a while: the driver does not
/// wait for its missing pages.
pub fn locked_memory_of_overlap() -> Outcome {
    let (small, large) = (
        GuestMemory::anonymous(PAGE),
        GuestMemory::anonymous(2 * PRESENT),
    );
    let read_only = acrn_vm_memmap {
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_READ,
        ..whole(&large)
    };
    for old in [whole(&small), read_only] {
        let fixture = need!(MappingFixture::new());
        fixture.set(old).expect("SET_MEMSEG");
        let new = need!(half_missing());
        let set = std::thread::spawn(set_at_limit(&fixture, whole(&new)));
        until("SET_MEMSEG returns", || set.is_finished());
        assert_eq!(set.join().expect("SET_MEMSEG"), Err(Errno::ENOMEM));
        assert_eq!(fixture.mapped_bytes(), old.len);
        fixture.destroy();
    }
    Outcome::Passed
}

/// At the limit, the driver checks whether the pages are set already. The check may have to wait
/// for pages of the process. Other commands proceed meanwhile.
pub fn same_pages_checked_without_lock() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let old = GuestMemory::anonymous(2 * PRESENT);
    let large = need!(half_missing());
    fixture.set(whole(&old)).expect("SET_MEMSEG");
    let set = SleepingCommand::start(|| true, set_at_limit(&fixture, whole(&large)));
    large.until_wanted();
    let file = Device::sharing(&fixture.device);
    let mut segment = whole(&old);
    let unset = std::thread::spawn(move || file.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment));
    until("UNSET_MEMSEG returns", || unset.is_finished());
    assert_eq!(unset.join().expect("UNSET_MEMSEG"), Ok(()));
    let _large = large.provide();
    assert_eq!(set.result(), Err(Errno::ENOMEM));
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}
