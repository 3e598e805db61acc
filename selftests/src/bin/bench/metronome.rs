// SPDX-License-Identifier: GPL-2.0

//! CPUs that take turns often.
//!
//! Where a machine counts instructions, its CPUs run one at a time, each until it sleeps or any timer of the machine is
//! due. So that something of one CPU comes in the middle of something of another one, as it does if they run side by
//! side, there is a timer that is due all the time: that of a CPU which does nothing else.

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
/// Periodic, with a vector that is never taken.
const PERIODIC: u32 = 1 << 17 | 0x40;
const UNDIVIDED: u32 = 0xb;
/// Nanoseconds of a turn.
const TURN: u32 = 5_000;
/// The same if nothing is measured, so that the host has not too much to do.
const LONG_TURN: u32 = 1_000_000;

/// The CPU, as long as this lives.
pub struct Metronome {
    _guest: Guest,
}

impl Metronome {
    /// Starts it.
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
