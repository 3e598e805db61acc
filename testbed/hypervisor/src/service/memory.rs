// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The Service VM's nested page tables.

use crate::{frames, handoff, phys};
use mini_acrn_logic::npt::{Attr, Npt, OutOfPages, PAGE};
use spin::{Mutex, Once};

/// Read, write and execute, write-back.
const OPEN: Attr = Attr(0x47);
/// Read only, write-back.
const READ_ONLY: Attr = Attr(0x41);
/// Read and execute, write-back: for a page of the Service VM's own memory.
const READ_ONLY_DATA: Attr = Attr(0x45);

static NESTED: Once<Mutex<Npt>> = Once::new();

/// Returns the nested page tables. They map everything one to one, except for mini-ACRN's memory.
fn nested() -> &'static Mutex<Npt> {
    NESTED.call_once(|| {
        let pool = &mut *frames::POOL.lock();
        let build = |pool: &mut frames::Pool| {
            let (own, top) = (phys::image(), phys::space().top);
            let (open, open_len) = handoff::writable_pages();
            let mut npt = Npt::new(pool)?;
            npt.map(pool, 0, 0, own.start, OPEN, 3)?;
            npt.map(pool, own.end, own.end, top - own.end, OPEN, 3)?;
            npt.map(pool, open, open, open_len, OPEN, 1)?;
            npt.map(pool, handoff::mailbox(), handoff::mailbox(), PAGE, READ_ONLY, 1)?;
            Ok::<_, OutOfPages>(npt)
        };
        Mutex::new(build(pool).expect("the pool is empty at boot"))
    })
}

/// Makes a page of the Service VM read-only, or writable again. Each CPU applies the change when it
/// next enters the guest. Returns false if there is no page left for the tables.
pub fn protect(page: u64, protected: bool) -> bool {
    let attr = if protected { READ_ONLY_DATA } else { OPEN };
    nested().lock().protect(&mut *frames::POOL.lock(), page, attr).is_ok()
}

/// Returns the address of the root of the tables.
pub fn root() -> u64 {
    nested().lock().root()
}
