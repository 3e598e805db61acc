// SPDX-License-Identifier: GPL-2.0

//! Tests of memory of which the hypervisor has lost a part, as happens when a guest moves device
//! memory over it.

use acrn_selftests::{
    guest_memory::{GuestMemory, HUGE_PAGE, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    mapping_fixture::{GUEST, MappingFixture, whole},
    need,
    status::Status,
    trace::Trace,
};
use nix::errno::Errno;

/// UNSET_MEMSEG of memory with holes takes a few hypercalls for each hole, not one for each page.
pub fn holes_cost_few_hypercalls() -> Outcome {
    const LEN: usize = 32 * HUGE_PAGE;
    const PAGES: usize = LEN / PAGE;
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::huge(LEN));
    for holes in [
        &[PAGES / 2 + 77][..],
        &[0],
        &[PAGES - 1],
        &[1, 2, 4000, PAGES - 2],
    ] {
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        for page in holes {
            need!(fixture.lose(GUEST + (page * PAGE) as u64, PAGE as u64));
        }
        let trace = Trace::start(&fixture.probe);
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        let calls = trace.calls(SET_MEMORY_REGIONS).len();
        println!("{PAGES} pages, {} holes: {calls} hypercalls", holes.len());
        assert!(
            calls <= 40 * holes.len(),
            "{calls} hypercalls for {holes:?}"
        );
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}

/// UNSET_MEMSEG succeeds even if the hypervisor has lost all of the memory.
pub fn all_lost() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(64 * PAGE);
    memory.number_pages(1);
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    need!(fixture.lose(GUEST, 64 * PAGE as u64));
    fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// If the hypervisor has lost more memory than the driver searches for page by page, UNSET_MEMSEG
/// fails, and the memory stays pinned until the VM is destroyed.
pub fn too_much_lost() -> Outcome {
    const LEN: usize = 32 * HUGE_PAGE;
    let fixture = need!(MappingFixture::new());
    let memory = need!(GuestMemory::huge(LEN));
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    need!(fixture.lose(GUEST, LEN as u64));
    assert_eq!(fixture.unset(whole(&memory)), Err(Errno::EIO));
    assert_eq!(fixture.pinned(), (LEN / PAGE) as i64);
    let reported = Status::of(&fixture.device).number("mapped_bytes");
    assert_eq!(reported, LEN as u64);
    fixture.destroy();
    Outcome::Passed
}
