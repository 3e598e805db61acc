// SPDX-License-Identifier: GPL-2.0

//! Tests of more memory in small pages than one array of regions can describe (A17).

use std::fs;

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{GUEST, MappingFixture, whole},
    need, skip,
};

const LEN: usize = 640 << 20;
/// The amount of available memory that the test needs, in KiB.
const NEEDED: usize = (LEN >> 10) * 3 / 2;

fn available() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// A segment of 640 MiB in pages of 4 KiB is mapped completely, and released completely.
pub fn many_small_pages() -> Outcome {
    let available = available().unwrap_or(0);
    if available < NEEDED {
        skip!("{available} KiB of memory are available, but the test needs {NEEDED}");
    }
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(LEN);
    let samples = (0..LEN).step_by(LEN / 64).chain([LEN - PAGE]);
    for offset in samples.clone() {
        memory.write::<u64>(offset, offset as u64 + 1);
    }
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    assert_eq!(fixture.mapped_bytes(), LEN as u64);
    assert_eq!(fixture.pinned(), (LEN / PAGE) as i64);
    for offset in samples {
        let seen = fixture
            .probe
            .read_guest(fixture.vmid, GUEST + offset as u64, 8);
        let expected = (offset as u64 + 1).to_le_bytes();
        assert_eq!(seen.as_deref(), Some(&expected[..]), "at {offset:#x}");
    }
    fixture.destroy();
    fixture.assert_all_unpinned();
    Outcome::Passed
}
