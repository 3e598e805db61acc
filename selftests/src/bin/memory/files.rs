// SPDX-License-Identifier: GPL-2.0

//! Tests of memory of files, as device models use it for guests: acrn-dm maps files of hugetlbfs,
//! and acrn-vmm maps a memfd.
//!
//! Each test uses a file in small pages and a file in huge pages.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::FileExt,
};

use acrn_selftests::{
    device::Device,
    guest_memory::{GuestMemory, HUGE_PAGE, PAGE, huge_file, small_file},
    harness::Outcome,
    mapping_fixture::{GUEST, MappingFixture, check_mapping, locked, ram, whole},
    need,
    trace::Trace,
    tracepoints::Tracepoints,
    userfault::UserfaultMemory,
    waiter::SleepingCommand,
};
use acrn_uapi::ioctl::ACRN_IOCTL_SET_MEMSEG;
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl},
};

const LEN: usize = 4 * HUGE_PAGE;
const PAGES: usize = LEN / PAGE;

/// Creates a file of each kind. The error says why the test must be skipped.
fn files() -> Result<[File; 2], String> {
    Ok([small_file(LEN)?, huge_file(LEN)?])
}

/// Creates an unlinked file of hugetlbfs. The error says why the test must be skipped.
fn hugetlbfs() -> Result<File, String> {
    let path = "/dev/hugepages/selftest";
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(path);
    let file = file.map_err(|error| format!("{path}: {error}"))?;
    std::fs::remove_file(path).expect("unlink");
    file.set_len(LEN as u64)
        .map_err(|error| format!("{path}: {error}"))?;
    Ok(file)
}

fn seal(file: &File, seals: SealFlag) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_ADD_SEALS(seals)).map(drop)
}

fn punch(file: &File, offset: usize, len: usize) {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(file, flags, offset as i64, len as i64).expect("fallocate");
}

/// Returns the first word of a page of the guest.
fn first_word(fixture: &MappingFixture, page: usize) -> Option<u64> {
    let address = GUEST + (page * PAGE) as u64;
    let bytes = fixture.probe.read_guest(fixture.vmid, address, 8)?;
    Some(u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
}

/// Writes to a page as the guest would, after the first word of the page.
fn write_as_guest(fixture: &MappingFixture, page: usize, value: u64) {
    let address = GUEST + (page * PAGE) as u64 + 8;
    fixture
        .probe
        .write_guest(fixture.vmid, address, &value.to_le_bytes());
}

/// A file of hugetlbfs, as acrn-dm uses it, is mapped and pinned completely.
pub fn file_of_hugetlbfs() -> Outcome {
    let file = need!(hugetlbfs());
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::of_file(&file, LEN));
    memory.number_pages(0x1000);
    check_mapping(&fixture, &memory);
    assert_eq!(fixture.pinned(), PAGES as i64);
    fixture.destroy();
    Outcome::Passed
}

/// A file that has no pages yet is mapped as well. The guest's writes reach the file.
pub fn file_untouched() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let memory = need!(GuestMemory::of_file(&file, LEN));
        check_mapping(&fixture, &memory);
        for page in [0, 1, 511, 512, PAGES - 1] {
            write_as_guest(&fixture, page, page as u64 + 1);
            let mut bytes = [0; 8];
            let offset = (page * PAGE + 8) as u64;
            file.read_exact_at(&mut bytes, offset).expect("the file");
            assert_eq!(u64::from_le_bytes(bytes), page as u64 + 1);
        }
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// With a private mapping, the guest shares the memory of the device model, and the file does not
/// change.
pub fn file_private() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for (file, is_charged) in need!(files()).into_iter().zip([true, false]) {
        let shared = need!(GuestMemory::of_file(&file, LEN));
        shared.number_pages(0x2000);
        let private = need!(GuestMemory::private_of_file(&file, LEN));
        private.write::<u64>(3 * PAGE, 7);
        let before = locked();
        check_mapping(&fixture, &private);
        assert_eq!(fixture.pinned(), PAGES as i64);
        let charged = if is_charged { 4 * PAGES as u64 } else { 0 };
        assert_eq!(locked() - before, charged);
        for page in [3, 600, PAGES - 1] {
            write_as_guest(&fixture, page, 0xbad);
            assert_eq!(private.read::<u64>(page * PAGE + 8), 0xbad);
            assert_eq!(shared.read::<u64>(page * PAGE + 8), 0, "page {page}");
        }
        assert_eq!(shared.read::<u64>(3 * PAGE), 0x2003);
        fixture.unset(whole(&private)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// A child shares a private mapping until either process writes. The guest's writes reach only the
/// parent, whether the memory is set before or after the fork.
pub fn file_private_and_forked() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let memory = need!(GuestMemory::private_of_file(&file, LEN));
        memory.number_pages(0x3000);
        for is_set_before in [false, true] {
            if is_set_before {
                fixture.set(whole(&memory)).expect("SET_MEMSEG");
            }
            let (mut result_reader, result_writer) = std::io::pipe().expect("a pipe");
            let (start_reader, mut start_writer) = std::io::pipe().expect("a pipe");
            // SAFETY: The child reads a byte, then some memory, and writes a byte. It allocates
            // nothing.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let _ = (&start_reader).read(&mut [0]);
                let sum = [0, 513, PAGES - 1].map(|page| memory.read::<u64>(page * PAGE + 8));
                let clean = sum == [0; 3];
                let _ = (&result_writer).write(&[u8::from(clean)]);
                // SAFETY: This ends the process at once.
                unsafe { libc::_exit(0) };
            }
            if !is_set_before {
                fixture.set(whole(&memory)).expect("SET_MEMSEG");
            }
            for page in [0, 513, PAGES - 1] {
                write_as_guest(&fixture, page, 0xf00d);
                assert_eq!(memory.read::<u64>(page * PAGE + 8), 0xf00d, "page {page}");
                memory.write::<u64>(page * PAGE, 0xcafe);
                assert_eq!(first_word(&fixture, page), Some(0xcafe), "page {page}");
            }
            start_writer.write_all(&[1]).expect("the pipe to the child");
            let mut clean = [0];
            result_reader
                .read_exact(&mut clean)
                .expect("the child's result");
            assert_eq!(clean, [1], "the child sees the guest's writes");
            // SAFETY: This is a child of this process that was not waited for.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            for page in [0, 513, PAGES - 1] {
                memory.write::<u64>(page * PAGE + 8, 0);
            }
            fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
            fixture.assert_nothing_left();
        }
    }
    fixture.destroy();
    Outcome::Passed
}

/// Seals against future writers do not affect an existing mapping. A seal against all writers is
/// refused until the guest loses the memory.
pub fn file_sealed_while_mapped() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let memory = need!(GuestMemory::of_file(&file, LEN));
        memory.number_pages(0x4000);
        let seals = SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        seal(&file, seals).expect("seals");
        check_mapping(&fixture, &memory);
        let segment = whole(&memory);
        drop(memory);
        assert_eq!(seal(&file, SealFlag::F_SEAL_WRITE), Err(Errno::EBUSY));
        assert_eq!(first_word(&fixture, 513), Some(0x4000 + 513));
        fixture.unset(segment).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
        seal(&file, SealFlag::F_SEAL_WRITE).expect("a seal");
    }
    fixture.destroy();
    Outcome::Passed
}

/// If a file has a seal against all writers, SET_MEMSEG refuses a shared mapping of it as well. A
/// private mapping provides copies.
pub fn file_sealed() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        need!(GuestMemory::of_file(&file, LEN)).number_pages(0x5000);
        seal(&file, SealFlag::F_SEAL_WRITE).expect("a seal");
        let shared = need!(GuestMemory::of_file_read_only(&file, LEN));
        assert_eq!(fixture.set(whole(&shared)), Err(Errno::EFAULT));
        fixture.assert_nothing_left();
        let private = need!(GuestMemory::private_of_file(&file, LEN));
        check_mapping(&fixture, &private);
        for page in [0, 513, PAGES - 1] {
            write_as_guest(&fixture, page, 0xbad);
            assert_eq!(shared.read::<u64>(page * PAGE + 8), 0, "page {page}");
        }
        fixture.unset(whole(&private)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// If all of the memory, or its third huge page, is read-only, SET_MEMSEG refuses it. No page stays
/// mapped or pinned.
pub fn file_read_only() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let readable = need!(GuestMemory::of_file_read_only(&file, LEN));
        let part = need!(GuestMemory::of_file(&file, LEN));
        part.protect_part(2 * HUGE_PAGE, HUGE_PAGE);
        let trace = Trace::start(&fixture.probe);
        for memory in [&readable, &part] {
            assert_eq!(fixture.set(whole(memory)), Err(Errno::EFAULT));
            fixture.assert_nothing_left();
        }
        trace.assert_no_hypercalls();
        for (offset, len) in [(0, 2 * HUGE_PAGE), (3 * HUGE_PAGE, HUGE_PAGE)] {
            let segment = ram(GUEST, &part, offset, len);
            fixture.set(segment).expect("SET_MEMSEG");
            fixture.assert_shows(GUEST, &part, offset, len);
            fixture.unset(segment).expect("UNSET_MEMSEG");
        }
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// Parts with any start and end can be set, and so can a mapping of a part of the file. A mapping
/// with a hole is refused.
pub fn file_parts() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let memory = need!(GuestMemory::of_file(&file, LEN));
        memory.number_pages(0x6000);
        for (first, pages) in [
            (511, 2),
            (5, 1),
            (100, 1024),
            (1, PAGES - 2),
            (513, 1023),
            (512, 513),
            (0, PAGES - 1),
        ] {
            let (offset, len) = (first * PAGE, pages * PAGE);
            let segment = ram(GUEST, &memory, offset, len);
            fixture.set(segment).expect("SET_MEMSEG");
            fixture.assert_shows(GUEST, &memory, offset, len);
            assert_eq!(fixture.pinned(), pages as i64);
            fixture.unset(segment).expect("UNSET_MEMSEG");
            fixture.assert_nothing_left();
        }
        let behind = need!(GuestMemory::of_file_from(
            &file,
            HUGE_PAGE as u64,
            2 * HUGE_PAGE
        ));
        check_mapping(&fixture, &behind);
        assert_eq!(first_word(&fixture, 1), Some(0x6000 + 513));
        fixture.unset(whole(&behind)).expect("UNSET_MEMSEG");

        for hole in [0, HUGE_PAGE, 3 * HUGE_PAGE] {
            let memory = need!(GuestMemory::of_file(&file, LEN));
            memory.unmap(hole, HUGE_PAGE);
            let trace = Trace::start(&fixture.probe);
            assert_eq!(fixture.set(whole(&memory)), Err(Errno::EFAULT), "{hole:#x}");
            trace.assert_no_hypercalls();
            fixture.assert_nothing_left();
        }
    }
    fixture.destroy();
    Outcome::Passed
}

/// One segment contains mappings of several files, out of order and repeated. Each page appears
/// where the device model has it.
pub fn files_in_one_segment() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let [small, huge] = need!(files());
    need!(GuestMemory::of_file(&small, LEN)).number_pages(0x7000);
    need!(GuestMemory::of_file(&huge, LEN)).number_pages(0x8000);
    let memory = GuestMemory::anonymous(8 * HUGE_PAGE);
    let start = memory.address().next_multiple_of(HUGE_PAGE as u64) - memory.address();
    let memory = memory.cut(start as usize, 7 * HUGE_PAGE);
    memory.number_pages(0x9000);
    for (place, file, part) in [
        (0, &huge, 3),
        (1, &huge, 0),
        (2, &huge, 3),
        (3, &small, 1),
        (5, &huge, 1),
        (6, &small, 0),
    ] {
        need!(memory.map_over(
            place * HUGE_PAGE,
            file,
            (part * HUGE_PAGE) as u64,
            HUGE_PAGE
        ));
    }
    let before = locked();
    check_mapping(&fixture, &memory);
    assert_eq!(fixture.pinned(), (memory.len() / PAGE) as i64);
    let small_pages = 3 * HUGE_PAGE / PAGE;
    assert_eq!(locked() - before, 4 * small_pages as u64);
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// A hole is punched into the file. If this happens before SET_MEMSEG, new memory appears in the
/// hole. If it happens afterwards, the guest keeps its pages until the memory is set again.
pub fn file_punched() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let memory = need!(GuestMemory::of_file(&file, LEN));
        memory.number_pages(0xa000);
        // A whole huge page, and some small pages.
        punch(&file, HUGE_PAGE, HUGE_PAGE);
        punch(&file, 3 * HUGE_PAGE + PAGE, 2 * PAGE);
        check_mapping(&fixture, &memory);
        let zeros = [511, 512, 1023, 1024, 1537, 1538, 1539].map(|page| first_word(&fixture, page));
        let number = |page: u64| Some(0xa000 + page);
        assert_eq!(
            zeros,
            [
                number(511),
                Some(0),
                Some(0),
                number(1024),
                Some(0),
                Some(0),
                number(1539)
            ]
        );

        punch(&file, 0, HUGE_PAGE);
        assert_eq!(first_word(&fixture, 5), Some(0xa005));
        assert_eq!(memory.read::<u64>(5 * PAGE), 0);
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        fixture.assert_shows(GUEST, &memory, 0, LEN);
        assert_eq!(fixture.pinned(), PAGES as i64);
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// If a file is shorter than its mapping, the memory beyond its end is refused. If the file is
/// truncated after SET_MEMSEG, the guest keeps the pages.
pub fn file_truncated() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let memory = need!(GuestMemory::of_file(&file, LEN));
        memory.number_pages(0xb000);
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        file.set_len(2 * HUGE_PAGE as u64).expect("ftruncate");
        assert_eq!(
            first_word(&fixture, PAGES - 1),
            Some(0xb000 + PAGES as u64 - 1)
        );
        assert_eq!(fixture.set(whole(&memory)), Err(Errno::EFAULT));
        assert_eq!(
            first_word(&fixture, PAGES - 1),
            Some(0xb000 + PAGES as u64 - 1)
        );
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();

        let trace = Trace::start(&fixture.probe);
        assert_eq!(fixture.set(whole(&memory)), Err(Errno::EFAULT));
        trace.assert_no_hypercalls();
        fixture.assert_nothing_left();
        let rest = ram(GUEST, &memory, 0, 2 * HUGE_PAGE);
        fixture.set(rest).expect("SET_MEMSEG");
        fixture.assert_shows(GUEST, &memory, 0, 2 * HUGE_PAGE);
        fixture.unset(rest).expect("UNSET_MEMSEG");

        file.set_len(LEN as u64).expect("ftruncate");
        check_mapping(&fixture, &memory);
        assert_eq!(first_word(&fixture, PAGES - 1), Some(0));
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// SET_MEMSEG waits for missing pages, which userfaultfd provides later.
pub fn file_with_missing_pages() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let memory = need!(GuestMemory::of_file(&file, LEN));
        // So many pages precede the missing page that one page-table walk does not cover them.
        for offset in (0..3 * HUGE_PAGE).step_by(PAGE) {
            memory.write::<u64>(offset, offset as u64 + 1);
        }
        let memory = need!(UserfaultMemory::of(memory, 3 * HUGE_PAGE));
        let device = Device::sharing(&fixture.device);
        let mut segment = whole(&memory);
        let trace = Trace::start(&fixture.probe);
        let set = SleepingCommand::start(
            || true,
            move || device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment),
        );
        memory.until_wanted();
        trace.assert_no_hypercalls();
        let memory = memory.provide();
        assert_eq!(set.result(), Ok(()));
        fixture.assert_shows(GUEST, &memory, 0, LEN);
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// The guest keeps the memory as long as it is set, even if the descriptor, the mapping and the
/// file's name are gone.
pub fn file_closed() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for file in need!(files()) {
        let memory = need!(GuestMemory::of_file(&file, LEN));
        memory.number_pages(0xc000);
        let segment = whole(&memory);
        fixture.set(segment).expect("SET_MEMSEG");
        drop((file, memory));
        // Other users of memory must not get these pages.
        let others = [GuestMemory::anonymous(LEN), need!(GuestMemory::huge(LEN))];
        others
            .iter()
            .for_each(|other| other.number_pages(0xffff_0000));
        for page in [0, 1, 511, 512, PAGES - 1] {
            assert_eq!(first_word(&fixture, page), Some(0xc000 + page as u64));
        }
        fixture.unset(segment).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// The driver looks up some pages one by one, and pins others with their folio, including parts of
/// folios. The tracepoint shows the number of the latter.
pub fn file_with_folio() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let events = need!(Tracepoints::on());
    let [small, huge] = need!(files());
    for (memory, is_huge) in [
        (need!(GuestMemory::of_file(&small, LEN)), false),
        (need!(GuestMemory::of_file(&huge, LEN)), true),
        (need!(GuestMemory::private_of_file(&huge, LEN)), true),
        (need!(GuestMemory::of_file(&need!(hugetlbfs()), LEN)), true),
        (GuestMemory::anonymous(LEN), false),
    ] {
        // The first page-table walk finds as many pages as a huge page has.
        for (first, pages, with_folio) in [
            (0, PAGES, 3 * 511),
            (1, PAGES - 2, 511 + 511 + 510),
            (0, 513, 0),
            (100, 900, 388),
        ] {
            let segment = ram(GUEST, &memory, first * PAGE, pages * PAGE);
            fixture.set(segment).expect("SET_MEMSEG");
            fixture.unset(segment).expect("UNSET_MEMSEG");
            let start = memory.address() + (first * PAGE) as u64;
            let with_folio = if is_huge { with_folio } else { 0 };
            let line =
                format!("acrn_pin_pages: start={start:#x} pages={pages} with_folio={with_folio}");
            assert_eq!(events.seen().last(), Some(&line));
        }
    }
    fixture.destroy();
    Outcome::Passed
}
