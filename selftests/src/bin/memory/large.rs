// SPDX-License-Identifier: GPL-2.0

//! More memory in small pages than one array of regions can describe (A17).

use std::fs;

use acrn_selftests::{
    area::{Area, PAGE},
    bench::{Bench, GUEST, whole},
    harness::Outcome,
    need, skip,
};

const LEN: usize = 640 << 20;
/// What the test wants to see free, in KiB.
const NEEDED: usize = (LEN >> 10) * 3 / 2;

fn available() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// 640 MiB of pages of 4 KiB in one segment: all there, and all given back.
pub fn many_small_pages() -> Outcome {
    let available = available().unwrap_or(0);
    if available < NEEDED {
        skip!("{available} KiB of memory available, the test needs {NEEDED}");
    }
    let bench = need!(Bench::new());
    let area = Area::anonymous(LEN);
    let samples = (0..LEN).step_by(LEN / 64).chain([LEN - PAGE]);
    for offset in samples.clone() {
        area.write::<u64>(offset, offset as u64 + 1);
    }
    bench.set(whole(&area)).expect("SET_MEMSEG");
    assert_eq!(bench.mapped_bytes(), LEN as u64);
    assert_eq!(bench.pinned(), (LEN / PAGE) as i64);
    for offset in samples {
        let seen = bench.probe.read_guest(bench.vmid, GUEST + offset as u64, 8);
        let expected = (offset as u64 + 1).to_le_bytes();
        assert_eq!(seen.as_deref(), Some(&expected[..]), "at {offset:#x}");
    }
    bench.destroy();
    assert_eq!(bench.pinned(), -1, "all pins and that of the request page");
    Outcome::Passed
}
