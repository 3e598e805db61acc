// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Rules of ACRN that the Service VM has broken.
//!
//! Where ACRN would halt the machine or use freed memory, mini-ACRN records a broken rule and
//! continues.

use crate::{log, trace};
use acrn_hypercall_abi::Hypercall;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use mini_acrn_channel::kind;

/// Number of broken rules that no test had announced.
static BROKEN: AtomicU64 = AtomicU64::new(0);
/// Number of broken rules that were announced and have not happened yet.
static EXPECTED: AtomicU32 = AtomicU32::new(0);

/// Records that `hypercall` has broken a rule. The caller holds `SERIAL`.
pub fn broken(vmid: u16, hypercall: Hypercall, rule: fmt::Arguments) {
    let announced =
        EXPECTED.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok();
    if announced {
        log!("RULE BROKEN as announced: VM {vmid}, {hypercall}: {rule}");
    } else {
        // The runner looks for this line.
        log!("RULE BROKEN: VM {vmid}, {hypercall}: {rule}");
        BROKEN.fetch_add(1, Ordering::AcqRel);
    }
    let mut text = String::new();
    let _ = text.write_fmt(rule);
    trace::push(kind::RULE_BROKEN, vmid, text.as_bytes(), |r| {
        (r.id, r.result) = (hypercall.id(), announced.into());
    });
}

/// Announces one more broken rule, or cancels all announced ones that have not happened.
pub fn expect(one_more: bool) {
    if one_more {
        EXPECTED.fetch_add(1, Ordering::AcqRel);
    } else {
        EXPECTED.store(0, Ordering::Release);
    }
}

/// Returns the number of broken rules that no test had announced.
pub fn count() -> u64 {
    BROKEN.load(Ordering::Acquire)
}

/// Returns the number of broken rules that are announced and have not happened yet.
pub fn expected() -> u32 {
    EXPECTED.load(Ordering::Acquire)
}
