// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A hypercall that waits until a test releases it.
//!
//! While it waits, the guest repeats its VMCALL again and again. The CPU takes interrupts in
//! between, so that the rest of the Service VM continues.

use super::call::Call;
use crate::time;
use mini_acrn_channel::{ANY_VM, Hold};
use spin::Mutex;

/// Identifies the caller of a hypercall: stack pointer and parameters.
type Caller = (u64, u64, u64);

enum State {
    /// No hypercall is to be held.
    None,
    /// The next hypercall that matches is to be held.
    Armed(Hold),
    /// The hypercall of this caller is held, until the given time if there is one.
    Held(Caller, Option<u64>),
}

static STATE: Mutex<State> = Mutex::new(State::None);

/// Holds the next hypercall that matches.
pub fn set(hold: Hold) {
    *STATE.lock() = State::Armed(hold);
}

/// Releases the hypercall.
pub fn release() {
    *STATE.lock() = State::None;
}

/// Returns whether a hypercall is held.
pub fn is_held() -> bool {
    matches!(*STATE.lock(), State::Held(..))
}

/// Returns whether `call`, made with the stack pointer `stack`, must be repeated later.
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
        State::Held(held, _) if *held != caller => false,
        State::Held(_, end) => {
            let ends = end.is_some_and(|end| time::now() >= end);
            if ends {
                *state = State::None;
            }
            !ends
        }
    }
}
