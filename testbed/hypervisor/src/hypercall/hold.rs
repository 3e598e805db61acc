// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A hypercall that waits for a test's word before it is carried out.
//!
//! Its VMCALL is made again and again meanwhile, with the guest running in between: its CPU takes interrupts, so
//! that the rest of the Service VM can go on.

use super::{Call, ID_BASE};
use mini_acrn_channel::{ANY_VM, Hold};
use spin::Mutex;

/// Who makes a hypercall: stack pointer and parameters.
type Caller = (u64, u64, u64);

enum State {
    /// None is to be held.
    Idle,
    /// The next one that matches is.
    Wanted(Hold),
    /// It waits.
    Held(Caller),
}

static STATE: Mutex<State> = Mutex::new(State::Idle);

/// Holds the next hypercall that matches.
pub fn want(hold: Hold) {
    *STATE.lock() = State::Wanted(hold);
}

/// Lets it go on.
pub fn release() {
    *STATE.lock() = State::Idle;
}

/// Whether it has arrived.
pub fn is_held() -> bool {
    matches!(*STATE.lock(), State::Held(_))
}

/// Whether `call`, made with this stack pointer, has to be made again later.
pub fn keeps(call: &Call, stack: u64) -> bool {
    let state = &mut *STATE.lock();
    let caller = (stack, call.p1, call.p2);
    match state {
        State::Idle => false,
        State::Wanted(hold) => {
            let wanted = (ID_BASE | u32::from(call.number)) == hold.id
                && (hold.vmid == ANY_VM || hold.vmid == call.target(&call.snapshot()));
            if wanted {
                *state = State::Held(caller);
            }
            wanted
        }
        State::Held(who) => *who == caller,
    }
}
