// SPDX-License-Identifier: GPL-2.0

//! Memory of which the hypervisor has lost some, as when a guest moves the memory of a device over it.

use acrn_selftests::{
    area::{Area, HUGE_PAGE, PAGE},
    bench::{Bench, GUEST, whole},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    need,
    status::Status,
    trace::Trace,
};
use nix::errno::Errno;

/// To take it away costs some hypercalls a hole, not one a page.
pub fn few_hypercalls() -> Outcome {
    const LEN: usize = 32 * HUGE_PAGE;
    const PAGES: usize = LEN / PAGE;
    let bench = need!(Bench::new());
    let area = need!(Area::huge(LEN));
    for holes in [
        &[PAGES / 2 + 77][..],
        &[0],
        &[PAGES - 1],
        &[1, 2, 4000, PAGES - 2],
    ] {
        bench.set(whole(&area)).expect("SET_MEMSEG");
        for page in holes {
            need!(bench.lose(GUEST + (page * PAGE) as u64, PAGE as u64));
        }
        let trace = Trace::start(&bench.probe);
        bench.unset(whole(&area)).expect("UNSET_MEMSEG");
        let calls = trace.calls(SET_MEMORY_REGIONS).len();
        println!("{PAGES} pages, {} holes: {calls} hypercalls", holes.len());
        assert!(
            calls <= 40 * holes.len(),
            "{calls} hypercalls for {holes:?}"
        );
        bench.assert_nothing_left();
    }
    bench.destroy();
    Outcome::Passed
}

/// It is all gone already.
pub fn all_lost() -> Outcome {
    let bench = need!(Bench::new());
    let area = Area::anonymous(64 * PAGE);
    area.number_pages(1);
    bench.set(whole(&area)).expect("SET_MEMSEG");
    need!(bench.lose(GUEST, 64 * PAGE as u64));
    bench.unset(whole(&area)).expect("UNSET_MEMSEG");
    bench.assert_nothing_left();
    bench.destroy();
    Outcome::Passed
}

/// More of it is gone than the driver looks for, page by page: it stays pinned until the VM ends.
pub fn too_much_lost() -> Outcome {
    const LEN: usize = 32 * HUGE_PAGE;
    let bench = need!(Bench::new());
    let area = need!(Area::huge(LEN));
    bench.set(whole(&area)).expect("SET_MEMSEG");
    need!(bench.lose(GUEST, LEN as u64));
    assert_eq!(bench.unset(whole(&area)), Err(Errno::EIO));
    assert_eq!(bench.pinned(), (LEN / PAGE) as i64);
    let told = Status::of(&bench.device).number("mapped_bytes");
    assert_eq!(told, LEN as u64);
    bench.destroy();
    Outcome::Passed
}
