// SPDX-License-Identifier: GPL-2.0

//! A fuzzer. Threads, and now and then a child process, share files of the device. They do things at random to the
//! files, to the memory and the eventfds behind them, and to the hypervisor. A test passes if nothing breaks, no rule of
//! ACRN is broken, and nothing is left.
//!
//! Each test has a seed of its own, which follows from the run's (`--seed N`), and so has each thread. With the same
//! seed each thread makes the same choices again. The order in which threads act cannot be repeated. With `--seconds N`
//! a test goes on for so long; without, each thread makes a fixed number of operations.

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
