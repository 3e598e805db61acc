// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The trace of mini-ACRN, which tests read through the channel.

use crate::time;
use mini_acrn_channel::{Record, TRACE_CAPACITY};
use mini_acrn_logic::trace::Ring;
use spin::Mutex;

/// The trace.
pub static TRACE: Mutex<Ring<TRACE_CAPACITY>> = Mutex::new(Ring::new());

/// Adds a record of `kind` about VM `vmid` with `data`. `fill` sets the other fields.
pub fn push(kind: u16, vmid: u16, data: &[u8], fill: impl FnOnce(&mut Record)) {
    TRACE.lock().push(data, |record| {
        (record.time, record.kind, record.vmid) = (time::now(), kind, vmid);
        fill(record);
    });
}
