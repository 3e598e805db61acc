// SPDX-License-Identifier: GPL-2.0

//! Tests of guests that cannot continue, and of instructions that ACRN does not support at device
//! registers.

use acrn_ioctls::{Direction, Request, Target, Width};
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    need,
    program::{self, ENTRY, write},
};
use iced_x86::code_asm::*;

const DEVICE: u64 = 0xd000_0040;
/// Vector of the invalid opcode exception.
const INVALID_OPCODE: u8 = 6;
const HANDLER: u64 = 0x1_8000;
/// A write to ACPI's PM1a control register: sleep type 5, sleep enable.
const POWER_OFF: Request = Request {
    target: Target::Port(0x404),
    direction: Direction::Write,
    width: Width::Two,
    value: 0x3400,
};

/// Serves requests until the guest has requested power-off three times. Returns its earlier
/// requests.
fn serve_until_power_off(guest: &Guest) -> Vec<Request> {
    let mut left = 3;
    let requests = guest.serve_until(
        |_, _| 0,
        |_, request| {
            left -= u32::from(request == POWER_OFF);
            left == 0
        },
    );
    let mut requests: Vec<_> = requests.into_iter().map(|(_, request)| request).collect();
    let before = requests.len() - 3;
    assert_eq!(requests.split_off(before), [POWER_OFF; 3]);
    requests
}

fn triple_fault() -> Vec<u8> {
    program::assemble(64, ENTRY, |code| code.ud2())
}

/// After a triple fault the guest requests power-off repeatedly, until it is paused. After a reset
/// it starts again, and it can be destroyed.
pub fn triple_fault_powers_off() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &triple_fault());
    for _ in 0..2 {
        guest.vm.start().expect("START_VM");
        assert_eq!(serve_until_power_off(&guest), []);
        guest.vm.pause().expect("PAUSE_VM");
        guest.vm.reset().expect("RESET_VM");
        let access = write(Target::Port(0x510), Width::One, 0x5a);
        guest.load_long_mode(&program::long_mode(&[access]));
        guest.vm.start().expect("START_VM");
        assert_eq!(guest.serve(1, |_, _| 0).len(), 1);
        guest.vm.pause().expect("PAUSE_VM");
        guest.vm.reset().expect("RESET_VM");
        guest.load_long_mode(&triple_fault());
    }
    guest.vm.start().expect("START_VM");
    assert_eq!(serve_until_power_off(&guest), []);
    Outcome::Passed
}

/// Creates a guest whose handler for invalid opcodes reports that the guest is done.
fn with_handler(cpus: u64, program: &[u8]) -> Guest {
    let guest = Guest::long_mode(cpus, program);
    let handler = program::assemble(64, HANDLER, program::done);
    guest.memory.write_bytes(HANDLER as usize, &handler);
    guest.set_handler(INVALID_OPCODE, HANDLER);
    guest
}

/// MOV with an address in the instruction (opcodes A0 to A3) is an invalid opcode at a device
/// register, and an ordinary MOV in memory.
pub fn mov_with_offset() -> Outcome {
    let cpus = need!(cpus::pick(1));
    for opcode in 0xa0..=0xa3 {
        let mov = |address: u64| [&[opcode], &address.to_le_bytes()[..]].concat();
        let done = program::assemble(64, ENTRY + 9, program::done);
        let guest = with_handler(cpus, &[mov(program::RESULTS), done].concat());
        guest.vm.start().expect("START_VM");
        guest.serve(1, |_, _| 0);
        guest.vm.pause().expect("PAUSE_VM");
        guest.vm.reset().expect("RESET_VM");
        // The instructions after it never report the end. Only the exception handler can.
        let spin = program::assemble(64, ENTRY + 9, |code| {
            let mut again = code.create_label();
            code.set_label(&mut again)?;
            code.jmp(again)
        });
        guest.load_long_mode(&[mov(DEVICE), spin].concat());
        guest.vm.start().expect("START_VM");
        assert_eq!(guest.serve(1, |_, _| 0), [], "opcode {opcode:#x}");
    }
    Outcome::Passed
}

/// Without paging, ACRN supports no instruction at a device register. The guest shuts down if it
/// has no handler for the exception. Ports work.
pub fn mmio_without_paging() -> Outcome {
    let guest = Guest::new(need!(cpus::pick(1)));
    guest.load_protected_mode(&program::assemble(32, ENTRY, |code| {
        code.mov(eax, 0x5au32)?;
        code.mov(dx, 0x510u32)?;
        code.out(dx, al)?;
        code.mov(ebx, DEVICE as u32)?;
        code.mov(dword_ptr(ebx), eax)?;
        program::done(code)
    }));
    guest.vm.start().expect("START_VM");
    let before = serve_until_power_off(&guest);
    let [port] = before[..] else {
        panic!("{before:x?}");
    };
    assert_eq!((port.target, port.value), (Target::Port(0x510), 0x5a));
    Outcome::Passed
}
