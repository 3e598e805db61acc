// SPDX-License-Identifier: GPL-2.0

//! Makes the CPUs of the machine alternate frequently.
//!
//! In a machine that counts instructions, one CPU runs at a time, until it sleeps or any timer of
//! the machine expires. On real machines, work of one CPU occurs in the middle of work of another.
//! A timer that expires all the time reproduces this: it belongs to a CPU that does nothing else.

use acrn_selftests::{
    guest::Guest,
    harness,
    program::{self, ENTRY},
};
use iced_x86::code_asm::*;

/// Registers of the local APIC.
const SPURIOUS: u64 = 0xfee0_00f0;
const TIMER: u64 = 0xfee0_0320;
const INITIAL_COUNT: u64 = 0xfee0_0380;
const DIVIDER: u64 = 0xfee0_03e0;

const ENABLED: u32 = 0x1ff;
/// Periodic mode, with a vector that is never delivered.
const PERIODIC: u32 = 1 << 17 | 0x40;
const UNDIVIDED: u32 = 0xb;
/// Nanoseconds after which the CPUs alternate.
const TURN: u32 = 5_000;
/// The same if nothing is measured, to spare the host.
const LONG_TURN: u32 = 1_000_000;

/// The CPU with the timer, as long as this value lives.
pub struct Metronome {
    _guest: Guest,
}

impl Metronome {
    /// Starts the timer.
    pub fn start(cpus: u64) -> Self {
        let turn = harness::rounds().map_or(LONG_TURN, |_| TURN);
        let program = program::assemble(64, ENTRY, |code| {
            for (register, value) in [
                (SPURIOUS, ENABLED),
                (DIVIDER, UNDIVIDED),
                (TIMER, PERIODIC),
                (INITIAL_COUNT, turn),
            ] {
                code.mov(rbx, register)?;
                code.mov(dword_ptr(rbx), value)?;
            }
            program::done(code)
        });
        let guest = Guest::long_mode(cpus, &program);
        guest.vm.start().expect("START_VM");
        guest.serve(1, |_, _| 0);
        Self { _guest: guest }
    }
}
