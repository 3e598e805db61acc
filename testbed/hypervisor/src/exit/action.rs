// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Results of exit handlers.

use crate::ioreq;

/// What follows from an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Go on.
    Resume,
    /// The vCPU is to stop; the instruction was not carried out.
    Stop,
    /// The guest shut down: a triple fault.
    ShutDown,
    /// mini-ACRN can't carry the instruction out.
    Fail,
}

/// What became of an access to a device, and the value if it was read.
pub fn completed(completion: ioreq::Completion) -> core::result::Result<u64, Action> {
    match completion {
        ioreq::Completion::Done(value) => Ok(value),
        ioreq::Completion::Stopped => Err(Action::Stop),
        ioreq::Completion::Refused => Err(Action::Fail),
    }
}
