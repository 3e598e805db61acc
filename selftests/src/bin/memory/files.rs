// SPDX-License-Identifier: GPL-2.0

//! Memory of files, as device models give it to a guest: acrn-dm maps files of hugetlbfs, acrn-vmm a memfd.
//!
//! Each test does the same with a file in small pages and with one in huge pages.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::FileExt,
};

use acrn_selftests::{
    area::{Area, HUGE_PAGE, PAGE, huge_file, small_file},
    bench::{Bench, GUEST, check_mapping, locked, ram, whole},
    device::Device,
    events::Events,
    harness::Outcome,
    missing::Missing,
    need,
    trace::Trace,
    waiter::Asleep,
};
use acrn_uapi::ioctl::ACRN_IOCTL_SET_MEMSEG;
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl},
};

const LEN: usize = 4 * HUGE_PAGE;
const PAGES: usize = LEN / PAGE;

/// One of each kind; the error says why a test has to be skipped.
fn files() -> Result<[File; 2], String> {
    Ok([small_file(LEN)?, huge_file(LEN)?])
}

/// A file of hugetlbfs that has no name any more; the error says why a test has to be skipped.
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

/// The first number of a page of the guest.
fn seen(bench: &Bench, page: usize) -> Option<u64> {
    let address = GUEST + (page * PAGE) as u64;
    let bytes = bench.probe.read_guest(bench.vmid, address, 8)?;
    Some(u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
}

/// The guest writes to a page, behind its first number.
fn scribble(bench: &Bench, page: usize, value: u64) {
    let address = GUEST + (page * PAGE) as u64 + 8;
    bench
        .probe
        .write_guest(bench.vmid, address, &value.to_le_bytes());
}

/// A file of hugetlbfs, as acrn-dm has it.
pub fn of_hugetlbfs() -> Outcome {
    let file = need!(hugetlbfs());
    let bench = need!(Bench::new());
    let area = need!(Area::of_file(&file, LEN));
    area.number_pages(0x1000);
    check_mapping(&bench, &area);
    assert_eq!(bench.pinned(), PAGES as i64);
    bench.destroy();
    Outcome::Passed
}

/// Nobody has touched it yet. What the guest writes comes to the file.
pub fn untouched() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let area = need!(Area::of_file(&file, LEN));
        check_mapping(&bench, &area);
        for page in [0, 1, 511, 512, PAGES - 1] {
            scribble(&bench, page, page as u64 + 1);
            let mut bytes = [0; 8];
            let offset = (page * PAGE + 8) as u64;
            file.read_exact_at(&mut bytes, offset).expect("the file");
            assert_eq!(u64::from_le_bytes(bytes), page as u64 + 1);
        }
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// A private mapping: the guest shares the memory of the device model, and the file does not change.
pub fn private() -> Outcome {
    let bench = need!(Bench::new());
    for (file, is_charged) in need!(files()).into_iter().zip([true, false]) {
        let shared = need!(Area::of_file(&file, LEN));
        shared.number_pages(0x2000);
        let private = need!(Area::private_of_file(&file, LEN));
        private.write::<u64>(3 * PAGE, 7);
        let before = locked();
        check_mapping(&bench, &private);
        assert_eq!(bench.pinned(), PAGES as i64);
        let charged = if is_charged { 4 * PAGES as u64 } else { 0 };
        assert_eq!(locked() - before, charged);
        for page in [3, 600, PAGES - 1] {
            scribble(&bench, page, 0xbad);
            assert_eq!(private.read::<u64>(page * PAGE + 8), 0xbad);
            assert_eq!(shared.read::<u64>(page * PAGE + 8), 0, "page {page}");
        }
        assert_eq!(shared.read::<u64>(3 * PAGE), 0x2003);
        bench.unset(whole(&private)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// Memory that a child shares for as long as neither writes: the guest's writes are its parent's, before and after
/// the fork.
pub fn private_and_forked() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let area = need!(Area::private_of_file(&file, LEN));
        area.number_pages(0x3000);
        for is_set_before in [false, true] {
            if is_set_before {
                bench.set(whole(&area)).expect("SET_MEMSEG");
            }
            let (mut answer, answering) = std::io::pipe().expect("a pipe");
            let (asked, mut asking) = std::io::pipe().expect("a pipe");
            // SAFETY: the child reads a byte, then some memory, and writes what it found; it allocates nothing.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let _ = (&asked).read(&mut [0]);
                let sum = [0, 513, PAGES - 1].map(|page| area.read::<u64>(page * PAGE + 8));
                let clean = sum == [0; 3];
                let _ = (&answering).write(&[u8::from(clean)]);
                // SAFETY: ends the process at once.
                unsafe { libc::_exit(0) };
            }
            if !is_set_before {
                bench.set(whole(&area)).expect("SET_MEMSEG");
            }
            for page in [0, 513, PAGES - 1] {
                scribble(&bench, page, 0xf00d);
                assert_eq!(area.read::<u64>(page * PAGE + 8), 0xf00d, "page {page}");
                area.write::<u64>(page * PAGE, 0xcafe);
                assert_eq!(seen(&bench, page), Some(0xcafe), "page {page}");
            }
            asking.write_all(&[1]).expect("the child");
            let mut clean = [0];
            answer.read_exact(&mut clean).expect("the child's word");
            assert_eq!(clean, [1], "the child sees what the guest wrote");
            // SAFETY: a child of ours, which was not waited for.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            for page in [0, 513, PAGES - 1] {
                area.write::<u64>(page * PAGE + 8, 0);
            }
            bench.unset(whole(&area)).expect("UNSET_MEMSEG");
            bench.assert_nothing_left();
        }
    }
    bench.destroy();
    Outcome::Passed
}

/// Seals against other writers leave this mapping as it is. A seal against all of them has to wait until the guest has
/// the memory no more.
pub fn sealed_while_mapped() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let area = need!(Area::of_file(&file, LEN));
        area.number_pages(0x4000);
        let seals = SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        seal(&file, seals).expect("seals");
        check_mapping(&bench, &area);
        let segment = whole(&area);
        drop(area);
        assert_eq!(seal(&file, SealFlag::F_SEAL_WRITE), Err(Errno::EBUSY));
        assert_eq!(seen(&bench, 513), Some(0x4000 + 513));
        bench.unset(segment).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
        seal(&file, SealFlag::F_SEAL_WRITE).expect("a seal");
    }
    bench.destroy();
    Outcome::Passed
}

/// A file that nobody may write to: no guest either. Of a private mapping it has copies.
pub fn sealed() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        need!(Area::of_file(&file, LEN)).number_pages(0x5000);
        seal(&file, SealFlag::F_SEAL_WRITE).expect("a seal");
        let shared = need!(Area::of_file_read_only(&file, LEN));
        assert_eq!(bench.set(whole(&shared)), Err(Errno::EFAULT));
        bench.assert_nothing_left();
        let private = need!(Area::private_of_file(&file, LEN));
        check_mapping(&bench, &private);
        for page in [0, 513, PAGES - 1] {
            scribble(&bench, page, 0xbad);
            assert_eq!(shared.read::<u64>(page * PAGE + 8), 0, "page {page}");
        }
        bench.unset(whole(&private)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// Memory that may only be read, all of it or the third huge page: refused, and nothing stays.
pub fn read_only() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let readable = need!(Area::of_file_read_only(&file, LEN));
        let part = need!(Area::of_file(&file, LEN));
        part.protect_part(2 * HUGE_PAGE, HUGE_PAGE);
        let trace = Trace::start(&bench.probe);
        for area in [&readable, &part] {
            assert_eq!(bench.set(whole(area)), Err(Errno::EFAULT));
            bench.assert_nothing_left();
        }
        assert_eq!(trace.ids(), [], "hypercalls");
        for (offset, len) in [(0, 2 * HUGE_PAGE), (3 * HUGE_PAGE, HUGE_PAGE)] {
            let segment = ram(GUEST, &part, offset, len);
            bench.set(segment).expect("SET_MEMSEG");
            bench.assert_shows(GUEST, &part, offset, len);
            bench.unset(segment).expect("UNSET_MEMSEG");
        }
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// A part, wherever it begins and ends; a part of the file is mapped; there is a hole.
pub fn parts() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let area = need!(Area::of_file(&file, LEN));
        area.number_pages(0x6000);
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
            let segment = ram(GUEST, &area, offset, len);
            bench.set(segment).expect("SET_MEMSEG");
            bench.assert_shows(GUEST, &area, offset, len);
            assert_eq!(bench.pinned(), pages as i64);
            bench.unset(segment).expect("UNSET_MEMSEG");
            bench.assert_nothing_left();
        }
        let behind = need!(Area::of_file_from(&file, HUGE_PAGE as u64, 2 * HUGE_PAGE));
        check_mapping(&bench, &behind);
        assert_eq!(seen(&bench, 1), Some(0x6000 + 513));
        bench.unset(whole(&behind)).expect("UNSET_MEMSEG");

        for hole in [0, HUGE_PAGE, 3 * HUGE_PAGE] {
            let area = need!(Area::of_file(&file, LEN));
            area.unmap(hole, HUGE_PAGE);
            let trace = Trace::start(&bench.probe);
            assert_eq!(bench.set(whole(&area)), Err(Errno::EFAULT), "{hole:#x}");
            assert_eq!(trace.ids(), [], "hypercalls");
            bench.assert_nothing_left();
        }
    }
    bench.destroy();
    Outcome::Passed
}

/// One segment of mappings of several files, out of order and twice: each page is where the device model has it.
pub fn several() -> Outcome {
    let bench = need!(Bench::new());
    let [small, huge] = need!(files());
    need!(Area::of_file(&small, LEN)).number_pages(0x7000);
    need!(Area::of_file(&huge, LEN)).number_pages(0x8000);
    let area = Area::anonymous(8 * HUGE_PAGE);
    let start = area.address().next_multiple_of(HUGE_PAGE as u64) - area.address();
    let area = area.cut(start as usize, 7 * HUGE_PAGE);
    area.number_pages(0x9000);
    for (place, file, part) in [
        (0, &huge, 3),
        (1, &huge, 0),
        (2, &huge, 3),
        (3, &small, 1),
        (5, &huge, 1),
        (6, &small, 0),
    ] {
        need!(area.map_over(
            place * HUGE_PAGE,
            file,
            (part * HUGE_PAGE) as u64,
            HUGE_PAGE
        ));
    }
    let before = locked();
    check_mapping(&bench, &area);
    assert_eq!(bench.pinned(), (area.len() / PAGE) as i64);
    let small_pages = 3 * HUGE_PAGE / PAGE;
    assert_eq!(locked() - before, 4 * small_pages as u64);
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    assert_eq!(locked(), before);
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}

/// A hole is punched into the file. Before SET_MEMSEG: there is new memory. After it: the guest keeps what it has, until
/// it is set again.
pub fn punched() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let area = need!(Area::of_file(&file, LEN));
        area.number_pages(0xa000);
        // A whole huge page, and some small ones.
        punch(&file, HUGE_PAGE, HUGE_PAGE);
        punch(&file, 3 * HUGE_PAGE + PAGE, 2 * PAGE);
        check_mapping(&bench, &area);
        let zeros = [511, 512, 1023, 1024, 1537, 1538, 1539].map(|page| seen(&bench, page));
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
        assert_eq!(seen(&bench, 5), Some(0xa005));
        assert_eq!(area.read::<u64>(5 * PAGE), 0);
        bench.set(whole(&area)).expect("SET_MEMSEG");
        bench.assert_shows(GUEST, &area, 0, LEN);
        assert_eq!(bench.pinned(), PAGES as i64);
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// The file is shorter than its mapping: what is beyond its end is no memory. Cut off later, the guest keeps it.
pub fn truncated() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let area = need!(Area::of_file(&file, LEN));
        area.number_pages(0xb000);
        bench.set(whole(&area)).expect("SET_MEMSEG");
        file.set_len(2 * HUGE_PAGE as u64).expect("ftruncate");
        assert_eq!(seen(&bench, PAGES - 1), Some(0xb000 + PAGES as u64 - 1));
        assert_eq!(bench.set(whole(&area)), Err(Errno::EFAULT));
        assert_eq!(seen(&bench, PAGES - 1), Some(0xb000 + PAGES as u64 - 1));
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();

        let trace = Trace::start(&bench.probe);
        assert_eq!(bench.set(whole(&area)), Err(Errno::EFAULT));
        assert_eq!(trace.ids(), [], "hypercalls");
        bench.assert_nothing_left();
        let rest = ram(GUEST, &area, 0, 2 * HUGE_PAGE);
        bench.set(rest).expect("SET_MEMSEG");
        bench.assert_shows(GUEST, &area, 0, 2 * HUGE_PAGE);
        bench.unset(rest).expect("UNSET_MEMSEG");

        file.set_len(LEN as u64).expect("ftruncate");
        check_mapping(&bench, &area);
        assert_eq!(seen(&bench, PAGES - 1), Some(0));
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// A monitor of page faults has a say in what memory there is.
pub fn missing() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let area = need!(Area::of_file(&file, LEN));
        // Enough, and of more than one page-table walk, before a page is missing.
        for offset in (0..3 * HUGE_PAGE).step_by(PAGE) {
            area.write::<u64>(offset, offset as u64 + 1);
        }
        let area = need!(Missing::of(area, 3 * HUGE_PAGE));
        let device = Device::sharing(&bench.device);
        let mut segment = whole(&area);
        let trace = Trace::start(&bench.probe);
        let set = Asleep::start(
            || true,
            move || device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment),
        );
        area.until_wanted();
        assert_eq!(trace.ids(), [], "hypercalls");
        let area = area.provide();
        assert_eq!(set.result(), Ok(()));
        bench.assert_shows(GUEST, &area, 0, LEN);
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// The descriptor, the mapping and the file's name are gone: the guest has the memory for as long as it is set.
pub fn outlives_its_file() -> Outcome {
    let bench = need!(Bench::new());
    for file in need!(files()) {
        let area = need!(Area::of_file(&file, LEN));
        area.number_pages(0xc000);
        let segment = whole(&area);
        bench.set(segment).expect("SET_MEMSEG");
        drop((file, area));
        // Whoever gets new pages now must not get these.
        let others = [Area::anonymous(LEN), need!(Area::huge(LEN))];
        others
            .iter()
            .for_each(|other| other.number_pages(0xffff_0000));
        for page in [0, 1, 511, 512, PAGES - 1] {
            assert_eq!(seen(&bench, page), Some(0xc000 + page as u64));
        }
        bench.unset(segment).expect("UNSET_MEMSEG");
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// Which pages are looked up one by one, and which are pinned with their folio: of a part, too.
pub fn with_folio() -> Outcome {
    let bench = need!(Bench::new());
    let events = need!(Events::on());
    let [small, huge] = need!(files());
    for (area, is_huge) in [
        (need!(Area::of_file(&small, LEN)), false),
        (need!(Area::of_file(&huge, LEN)), true),
        (need!(Area::private_of_file(&huge, LEN)), true),
        (need!(Area::of_file(&need!(hugetlbfs()), LEN)), true),
        (Area::anonymous(LEN), false),
    ] {
        // The first page-table walk finds as many pages as a huge page has.
        for (first, pages, with_folio) in [
            (0, PAGES, 3 * 511),
            (1, PAGES - 2, 511 + 511 + 510),
            (0, 513, 0),
            (100, 900, 388),
        ] {
            let segment = ram(GUEST, &area, first * PAGE, pages * PAGE);
            bench.set(segment).expect("SET_MEMSEG");
            bench.unset(segment).expect("UNSET_MEMSEG");
            let start = area.address() + (first * PAGE) as u64;
            let with_folio = if is_huge { with_folio } else { 0 };
            let line =
                format!("acrn_pin_pages: start={start:#x} pages={pages} with_folio={with_folio}");
            assert_eq!(events.seen().last(), Some(&line));
        }
    }
    bench.destroy();
    Outcome::Passed
}
