// SPDX-License-Identifier: GPL-2.0

//! Anything at any time: threads, and now and then a child, that share files of the device and do to them, to the
//! memory and the eventfds behind them and to the hypervisor what chance has them do. That nothing breaks, no rule of
//! ACRN either, and that nothing is left is all that is judged.
//!
//! Each test has a seed of its own, which follows from the run's (`--seed N`), and each thread one of its own. With
//! the same seed each thread makes the same choices again; in which order threads come to act nobody can repeat.
//! Without `--seconds N` each thread makes a number of operations, else it goes on for so long.

use std::process::ExitCode;

use acrn_selftests::harness::{self, Outcome, Test};

use crate::actor::Weights;

mod actor;
mod arena;
mod argument;
mod children;
mod commands;
mod faults;
mod guest;
mod stage;

/// How long a test may take.
const LIMIT: u64 = 120;

/// A bit of everything, so that there is something to be disturbed.
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
    harness::main(&[
        Test::new("commands", commands).within(LIMIT).telling(),
        Test::new("memory", memory).within(LIMIT).telling(),
        Test::new("requests", requests).within(LIMIT).telling(),
        Test::new("eventfds", eventfds).within(LIMIT).telling(),
        Test::new("faults", faults).within(LIMIT).telling(),
        Test::new("ends", ends).within(LIMIT).telling(),
        Test::new("everything", everything).within(LIMIT).telling(),
    ])
}
