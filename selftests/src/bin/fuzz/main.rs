// SPDX-License-Identifier: GPL-2.0

//! A fuzzer. Threads, and occasionally a child process, share files of the device. They perform
//! random operations on the files, on the memory and the eventfds that these use, and on the
//! hypervisor. A test passes if nothing breaks, no rule of ACRN is broken, and nothing is left
//! behind.
//!
//! Each test and each thread has a seed of its own, which follows from the run's (`--seed N`). With
//! the same seed each thread makes the same choices. The order in which threads run is not
//! reproducible. With `--seconds N` each test runs that long. By default each thread performs a
//! fixed number of operations.

use std::process::ExitCode;

use acrn_selftests::{
    harness::{self, Outcome},
    tests,
};

use crate::actor::Weights;

mod actor;
mod arena;
mod argument;
mod children;
mod commands;
mod faults;
mod guest;
mod stage;

/// Time limit of a test, in seconds.
const LIMIT: u64 = 120;

/// Operations of all kinds, as a background for the operations that a test concentrates on.
const SOME: Weights = Weights {
    commands: 30,
    memory: 2,
    requests: 4,
    eventfds: 2,
    faults: 0,
    ends: 2,
    guests: 2,
    children: 0,
};

fn commands() -> Outcome {
    stage::run(
        "commands",
        Weights {
            commands: 60,
            ..SOME
        },
        1500,
    )
}

fn memory() -> Outcome {
    let weights = Weights { memory: 60, ..SOME };
    stage::run("memory", weights, 1500)
}

fn requests() -> Outcome {
    let weights = Weights {
        requests: 80,
        ..SOME
    };
    stage::run("requests", weights, 1500)
}

fn eventfds() -> Outcome {
    let weights = Weights {
        eventfds: 80,
        ..SOME
    };
    stage::run("eventfds", weights, 1500)
}

fn faults() -> Outcome {
    let weights = Weights { faults: 8, ..SOME };
    stage::run("faults", weights, 500)
}

fn ends() -> Outcome {
    let weights = Weights {
        ends: 20,
        children: 4,
        ..SOME
    };
    stage::run("ends", weights, 300)
}

fn everything() -> Outcome {
    let weights = Weights {
        commands: 40,
        memory: 20,
        requests: 20,
        eventfds: 20,
        faults: 4,
        ends: 4,
        guests: 4,
        children: 2,
    };
    stage::run("everything", weights, 800)
}

fn main() -> ExitCode {
    harness::main(&tests![
        commands.within(LIMIT).show_output(),
        memory.within(LIMIT).show_output(),
        requests.within(LIMIT).show_output(),
        eventfds.within(LIMIT).show_output(),
        faults.within(LIMIT).show_output(),
        ends.within(LIMIT).show_output(),
        everything.within(LIMIT).show_output(),
    ])
}
