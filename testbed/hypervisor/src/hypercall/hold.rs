// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A hypercall that waits for a test's word before it is carried out.
//!
//! Its VMCALL is made again and again meanwhile, with the guest running in between: its CPU takes interrupts, so
//! that the rest of the Service VM can go on.

use super::call::Call;
use crate::time;
use mini_acrn_channel::{ANY_VM, Hold};
use spin::Mutex;

/// What tells callers of a hypercall apart: stack pointer and parameters.
type Caller = (u64, u64, u64);

enum State {
    /// None is to be held.
    None,
    /// The next one that matches is.
    Armed(Hold),
    /// It waits, until this time if it does not wait for ever.
    Held(Caller, Option<u64>),
}

static STATE: Mutex<State> = Mutex::new(State::None);

/// Holds the next hypercall that matches.
pub fn set(hold: Hold) {
    *STATE.lock() = State::Armed(hold);
}

/// Lets it go on.
pub fn release() {
    *STATE.lock() = State::None;
}

/// Whether it has arrived.
pub fn is_held() -> bool {
    matches!(*STATE.lock(), State::Held(..))
}

/// Whether `call`, made with this stack pointer, has to be made again later.
pub fn must_wait(call: &Call, stack: u64) -> bool {
    let state = &mut *STATE.lock();
    let caller = (stack, call.p1, call.p2);
    match state {
        State::None => false,
        State::Armed(hold) => {
            let matches = call.id() == hold.id
                && (hold.vmid == ANY_VM || hold.vmid == call.target(&call.snapshot()));
            if matches && hold.skip > 0 {
                hold.skip -= 1;
                return false;
            }
            if matches {
                let limit = u64::from(hold.limit_ms) * u64::from(time::tsc_khz());
                let end = (limit > 0).then(|| time::now() + limit);
                *state = State::Held(caller, end);
            }
            matches
        }
        State::Held(who, _) if *who != caller => false,
        State::Held(_, end) => {
            let ends = end.is_some_and(|end| time::now() >= end);
            if ends {
                *state = State::None;
            }
            !ends
        }
    }
}
