// SPDX-License-Identifier: GPL-2.0

//! P11 and P12: a guest that writes to an ioeventfd in a loop.

use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::{self, Outcome},
    need,
    probe::Probe,
    program,
    status::Status,
};

use crate::{
    clock::{now, rounds},
    figure::Figure,
    guest::{self, PORT, Pace},
    ioeventfds,
    metronome::Metronome,
    one_cpu::OneCpu,
};

/// 200 ms, if instructions are counted.
const SPIN: u64 = 200_000_000;
/// The same if nothing is measured.
const SHORT_SPIN: u64 = 10_000_000;
/// Additions between two readings of the clock.
const LOOP: u64 = 1000;
/// Guest address of the counter of a guest without requests.
const COUNTER: u64 = 1 << 20;

/// Values that the driver reports about its own time.
const ACCOUNT: [&str; 4] = [
    "upcall_requests",
    "upcall_ns",
    "thread_requests",
    "thread_ns",
];

/// P11: measures the work of a thread on the CPU of the upcalls beside the storm, relative to its
/// work beside a guest without requests.
pub fn thread_beside() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let _one = need!(OneCpu::only());
    let _metronome = Metronome::start(masks[1]);
    let loops = |program: &[u8]| {
        let guest = Guest::long_mode(masks[0], program);
        let _events = ioeventfds::assign(&guest, 1);
        guest.vm.start().expect("START_VM");
        let loops = spin();
        (loops, Status::of_vm(guest.vm.vmid()))
    };
    let (quiet, _) = loops(&count());
    let (storm, status) = loops(&program::chatter(PORT));
    Figure::of("P11", "thread")
        .ratio(storm, quiet)
        .with("quiet", quiet)
        .with("storm", storm)
        .print();
    let upcall = Figure::of("P11", "upcall");
    match status {
        Some(status) => ACCOUNT
            .into_iter()
            .fold(upcall, |upcall, key| upcall.with(key, status.number(key)))
            .ratio(status.number("upcall_ns"), span())
            .print(),
        // Upstream's driver reports no such values.
        None => upcall.print(),
    }
    Outcome::Passed
}

/// Returns a program that increments a counter in a loop.
fn count() -> Vec<u8> {
    use iced_x86::code_asm::*;
    program::assemble(64, program::ENTRY, |code| {
        let mut again = code.create_label();
        code.mov(rbx, COUNTER)?;
        code.set_label(&mut again)?;
        code.inc(qword_ptr(rbx))?;
        code.jmp(again)
    })
}

/// Returns how long the thread spins.
fn span() -> u64 {
    harness::rounds().map_or(SHORT_SPIN, |_| SPIN)
}

/// Spins, and returns the number of iterations.
fn spin() -> u64 {
    let end = now() + span();
    let mut loops = 0;
    while now() < end {
        for step in 0..LOOP {
            std::hint::black_box(step);
        }
        loops += 1;
    }
    loops
}

/// P12: measures the round trip of P2 alone, beside a VM that computes, and beside a VM with a
/// storm.
pub fn vm_beside() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1, 1]));
    let _one = need!(OneCpu::only());
    let _metronome = Metronome::start(masks[2]);
    let run = |work: &str| {
        let trips = guest::run(&Guest::new(masks[0]), &probe, rounds(), Pace::Alone);
        Figure::of("P12", work).times(&trips.samples).print();
        trips.samples.median()
    };
    let run_beside = |work: &str, program: &[u8]| {
        let other = Guest::long_mode(masks[1], program);
        let _events = ioeventfds::assign(&other, 1);
        other.vm.start().expect("START_VM");
        run(work)
    };
    run("alone");
    let computing = run_beside("computing", &count());
    let storm = run_beside("storm", &program::chatter(PORT));
    Figure::of("P12", "slowdown")
        .ratio(storm, computing)
        .print();
    Outcome::Passed
}
