// SPDX-License-Identifier: GPL-2.0

//! Child processes with the same files, which are killed in the middle of an operation.

use std::{thread, time::Duration};

use acrn_uapi::ioctl::ACRN_IOCTL_ATTACH_IOREQ_CLIENT;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, fork},
};

use crate::{
    actor::{Actor, Weights},
    stage::{FILES, Length},
};

/// Maximum number of operations of a child.
const OPERATIONS: u64 = 60;

/// Forks a child that performs the operations of its parent, and kills it after some time, whether
/// it is done or not.
pub fn start_and_kill(actor: &mut Actor<'_>, weights: &Weights) {
    let chance = actor.chance.fork();
    let time = Duration::from_micros(actor.chance.u64(..20_000));
    // SAFETY: The child is a copy of this thread only. It takes no lock and no heap memory that
    // another thread may have held: it makes system calls, with arguments on its stack and in
    // mappings.
    let child = unsafe { fork() };
    match child {
        Ok(ForkResult::Child) => be_a_child(actor, chance, weights),
        Ok(ForkResult::Parent { child }) => {
            thread::sleep(time);
            // The child may have ended by itself.
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
            actor.stage.count(true);
        }
        Err(_) => {}
    }
}

fn be_a_child(actor: &mut Actor<'_>, mut chance: fastrand::Rng, weights: &Weights) -> ! {
    let waits = chance.u32(..4) == 0;
    let file = chance.usize(..FILES);
    actor.chance = chance;
    // A hypercall that the child holds would stay held, and children of the child would survive it.
    let weights = Weights {
        faults: 0,
        children: 0,
        ..*weights
    };
    actor.act(&weights, Length::Operations(OPERATIONS));
    if waits {
        let _ = actor.stage.files[file].plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT);
    }
    // SAFETY: This ends the process without running the parent's exit handlers.
    unsafe { libc::_exit(0) }
}
