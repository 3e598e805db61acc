// SPDX-License-Identifier: GPL-2.0

//! Tests of two threads that set memory.

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    mapping_fixture::{GUEST, MappingFixture, ram},
    need,
    probe::fault,
};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

use crate::at_once;

/// One of two concurrent SET_MEMSEG fails and does not affect the other (R5, A5).
pub fn memory_fails_beside_memory() -> Outcome {
    const PAGES: usize = 24;
    let len = PAGES * PAGE;
    for round in 0..60 {
        let fixture = need!(MappingFixture::new());
        let areas = [GuestMemory::anonymous(len), GuestMemory::anonymous(len)];
        let guests = [GUEST, 2 * GUEST];
        for (memory, salt) in areas.iter().zip([0x1000, 0x2000]) {
            memory.number_pages(salt);
        }
        fixture.probe.push_fault(Fault {
            vmid: fixture.vmid,
            skip: round % 2,
            ..fault(SET_MEMORY_REGIONS, -5)
        });
        let set = |index: usize| fixture.set(ram(guests[index], &areas[index], 0, len));
        let (first, second) = at_once(|| set(0), || set(1));
        let results = [first, second];
        let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
        assert_eq!(failed, [&Err(Errno::EIO)], "{results:?}");
        let stays = usize::from(first.is_err());
        fixture.assert_shows(guests[stays], &areas[stays], 0, len);
        assert_eq!(fixture.pinned(), PAGES as i64, "round {round}");
        // The failed command can be repeated, and DESTROY_VM releases all memory.
        let repeated = 1 - stays;
        assert_eq!(set(repeated), Ok(()));
        assert_eq!(fixture.pinned(), 2 * PAGES as i64);
        fixture.probe.clear_faults();
        fixture.destroy();
        fixture.assert_all_unpinned();
    }
    Outcome::Passed
}
