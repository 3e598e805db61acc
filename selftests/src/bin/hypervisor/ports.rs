// SPDX-License-Identifier: GPL-2.0

//! Tests of port accesses of a guest that reach the Service VM, and of the guest's registers
//! afterwards.

use acrn_ioctls::{Direction, Request, Target, Width};
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    need,
    probe::Probe,
    program::{self, ENTRY, PATTERN, RESULTS, read, write},
    trace::Trace,
};
use acrn_uapi::{ACRN_IOREQ_DIR_WRITE, ACRN_IOREQ_TYPE_PORTIO};
use iced_x86::code_asm::*;
use mini_acrn_channel::{Record, kind};

const PORT: u16 = 0x510;

/// Returns the port access in a slot: whether it is a write, the port, the number of bytes, and the
/// value.
fn port_io(record: &Record) -> (bool, u64, u64, u32) {
    let word = |offset: usize| {
        let bytes = record.data[offset..offset + 8].try_into();
        u64::from_le_bytes(bytes.expect("8 bytes"))
    };
    assert_eq!(word(0) as u32, ACRN_IOREQ_TYPE_PORTIO);
    let is_write = word(64) as u32 == ACRN_IOREQ_DIR_WRITE;
    (is_write, word(72), word(80), word(88) as u32)
}

/// At ports 0xCF8 to 0xCFF, ACRN passes writes of an address on unchanged, and one access to the
/// data after each of them. It completes all other accesses itself.
pub fn config_ports() -> Outcome {
    let probe = need!(Probe::open());
    let (address, data) = (Target::Port(0xcf8), Target::Port(0xcfc));
    let accesses = [
        write(address, Width::Four, 0xff00_1840),
        read(address, Width::Four),
        write(address, Width::Two, 1),
        read(address, Width::One),
        read(data, Width::Four),
        read(data, Width::Four),
        write(data, Width::Four, 1),
        write(address, Width::Four, 0x8000_1844),
        write(Target::Port(0xcfe), Width::Two, 0x1234),
        // This access is unaligned.
        write(address, Width::Four, 0x8000_1844),
        write(Target::Port(0xcfd), Width::Two, 0x1234),
        // The enable bit of this address is clear.
        write(address, Width::Four, 0x1844),
        read(data, Width::One),
        // The reset control register is not a part of configuration space.
        write(Target::Port(0xcf9), Width::One, 2),
    ];
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&accesses));
    let trace = Trace::start(&probe);
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0x77);
    let pending = trace.events(kind::REQUEST_PENDING);
    let mut passed_on: Vec<_> = pending.iter().map(port_io).collect();
    passed_on
        .pop()
        .expect("the guest's request that reports its end");
    // For a read, the slot contains an earlier value.
    let passed_on = passed_on
        .into_iter()
        .map(|(is_write, port, size, value)| (port, size, is_write.then_some(value)));
    let expected = [
        (0xcf8, 4, Some(0xff00_1840)),
        (0xcfc, 4, None),
        (0xcf8, 4, Some(0x8000_1844)),
        (0xcfe, 2, Some(0x1234)),
        (0xcf8, 4, Some(0x8000_1844)),
        (0xcf8, 4, Some(0x1844)),
        (0xcf9, 1, Some(2)),
    ];
    assert_eq!(passed_on.collect::<Vec<_>>(), expected);
    let answers = [0x8000_1840, 0xff, 0x77, 0xffff_ffff, 0xff];
    let reads = accesses.iter().filter(|access| access.value.is_none());
    for (index, (access, answer)) in reads.zip(answers).enumerate() {
        let stored: u64 = guest.memory.read(RESULTS as usize + 8 * index);
        let mask = access.width.mask();
        assert_eq!(
            stored,
            PATTERN & !mask | answer,
            "read {index}, {access:x?}"
        );
    }
    Outcome::Passed
}

/// Runs a program. Returns all of its requests but the last.
fn run(guest: &Guest) -> Vec<Request> {
    guest.vm.start().expect("START_VM");
    let requests = guest.serve(1, |_, _| 0xffff_ffff_8765_4321);
    requests.into_iter().map(|(_, request)| request).collect()
}

/// IN changes only the bits of RAX that it reads.
pub fn in_keeps_the_rest_of_rax() -> Outcome {
    let accesses =
        [Width::One, Width::Two, Width::Four].map(|width| read(Target::Port(PORT), width));
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&accesses));
    assert_eq!(run(&guest).len(), accesses.len());
    let stored = [0, 8, 16].map(|offset| guest.memory.read::<u64>(RESULTS as usize + offset));
    let expected = [
        0x1122_3344_5566_7721,
        0x1122_3344_5566_4321,
        0x1122_3344_8765_4321,
    ];
    assert_eq!(stored, expected);
    Outcome::Passed
}

/// REP OUTSB is one OUT of AL, and REP INSB is one IN. Memory and counters stay unchanged.
pub fn string_instructions_are_single() -> Outcome {
    let registers = [rcx, rsi, rdi, rax];
    let program = program::assemble(64, ENTRY, |code| {
        code.mov(rax, PATTERN)?;
        code.mov(rcx, 5u64)?;
        code.mov(rsi, RESULTS + 0x100)?;
        code.mov(rdi, RESULTS + 0x200)?;
        code.mov(dx, u32::from(PORT))?;
        code.rep().outsb()?;
        code.rep().insb()?;
        code.mov(rbx, RESULTS)?;
        for (offset, register) in (0..).step_by(8).zip(registers) {
            code.mov(qword_ptr(rbx + offset), register)?;
        }
        program::done(code)
    });
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program);
    let requests = run(&guest);
    let out = Request {
        target: Target::Port(PORT),
        direction: Direction::Write,
        width: Width::One,
        value: PATTERN & 0xff,
    };
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0], out);
    assert_eq!(
        (requests[1].target, requests[1].direction, requests[1].width),
        (out.target, Direction::Read, Width::One)
    );
    let stored = [0, 8, 16, 24].map(|offset| guest.memory.read::<u64>(RESULTS as usize + offset));
    let expected = [5, RESULTS + 0x100, RESULTS + 0x200, PATTERN & !0xff | 0x21];
    assert_eq!(stored, expected);
    assert_eq!(guest.memory.read::<u64>(RESULTS as usize + 0x200), 0);
    Outcome::Passed
}
