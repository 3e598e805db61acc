// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The outcome of an exit handler.

use crate::ioreq;

/// The action that follows an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Enter the guest again.
    Resume,
    /// Stop the vCPU. The instruction is not complete.
    Stop,
    /// The guest has shut down because of a triple fault.
    ShutDown,
    /// mini-ACRN cannot emulate the instruction.
    Fail,
}

/// Returns the value of a complete access to a device, otherwise the action that follows.
pub fn completed(completion: ioreq::Completion) -> core::result::Result<u64, Action> {
    match completion {
        ioreq::Completion::Done(value) => Ok(value),
        ioreq::Completion::Stopped => Err(Action::Stop),
        ioreq::Completion::Refused => Err(Action::Fail),
    }
}
