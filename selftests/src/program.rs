// SPDX-License-Identifier: GPL-2.0

//! Guest programs of accesses to ports and addresses, assembled when a test runs.

use acrn_ioctls::{Target, Width};
use iced_x86::{IcedError, code_asm::*};

/// Address of the program of vCPU 0.
pub const ENTRY: u64 = 0x1_0000;
/// Address of a program in real mode, for example that of a second vCPU: SIPI vector 8.
pub const REAL_MODE_ENTRY: u64 = 0x8000;
/// Address of the values that vCPU 0 has read, 8 bytes each.
pub const RESULTS: u64 = 0xa000;
/// Address of the values that a second vCPU has read.
pub const SECOND_RESULTS: u64 = 0xb000;
/// A program writes one byte to this port when it is done.
pub const DONE_PORT: u16 = 0xe0;
/// Contents of the registers before a read.
pub const PATTERN: u64 = 0x1122_3344_5566_7788;

/// The interrupt command register.
const ICR_LOW: u64 = 0xfee0_0300;
/// INIT and start-up IPI to all vCPUs except the sender.
const ICR_INIT: u32 = 0xc_4500;
const ICR_STARTUP: u32 = 0xc_4600;

/// The access of one instruction.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The port or the address.
    pub target: Target,
    /// The number of bytes.
    pub width: Width,
    /// The value of a write; none for a read.
    pub value: Option<u64>,
}

/// Returns a read access.
pub const fn read(target: Target, width: Width) -> Access {
    Access {
        target,
        width,
        value: None,
    }
}

/// Returns a write access.
pub const fn write(target: Target, width: Width, value: u64) -> Access {
    Access {
        target,
        width,
        value: Some(value),
    }
}

/// Width of the registers that a program stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// Real mode: EAX.
    Bits32,
    /// Long mode: RAX.
    Bits64,
}

/// Returns the register after a read that was completed with the value `answer`. On ACRN an IN of 4
/// bytes does not change the upper half of RAX.
pub fn register_after_read(access: &Access, answer: u64, operand: Operand) -> u64 {
    let old = match operand {
        Operand::Bits32 => PATTERN & Width::Four.mask(),
        Operand::Bits64 => PATTERN,
    };
    let mask = access.width.mask();
    match (access.target, access.width) {
        // In long mode a MOV to the lower half of a register clears the upper half.
        (Target::Memory(_), Width::Four) => answer & mask,
        _ => old & !mask | answer & mask,
    }
}

/// Assembles a program that is loaded at `address`.
pub fn assemble(
    bits: u32,
    address: u64,
    emit: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Vec<u8> {
    let mut code = CodeAssembler::new(bits).expect("an assembler");
    emit(&mut code).expect("a program that assembles");
    code.assemble(address).expect("a program that assembles")
}

/// Assembles a real mode program for [`REAL_MODE_ENTRY`]. It accesses ports, stores the values that
/// it has read at `results`, and reports that it is done.
pub fn real_mode(results: u64, accesses: &[Access]) -> Vec<u8> {
    assemble(16, REAL_MODE_ENTRY, |code| {
        let mut slot = results as u32;
        for access in accesses {
            let Target::Port(port) = access.target else {
                panic!("a real mode program can only access ports");
            };
            code.mov(eax, access.value.unwrap_or(PATTERN) as u32)?;
            port_access(code, port, *access)?;
            if access.value.is_none() {
                code.mov(bx, slot)?;
                code.mov(dword_ptr(bx), eax)?;
                slot += 8;
            }
        }
        done(code)
    })
}

/// Assembles a long mode program for [`ENTRY`]. It makes accesses, stores the values that it has
/// read at [`RESULTS`], and reports that it is done.
pub fn long_mode(accesses: &[Access]) -> Vec<u8> {
    assemble(64, ENTRY, |code| long_mode_accesses(code, accesses))
}

/// Assembles a long mode program that first starts a second vCPU at [`REAL_MODE_ENTRY`].
pub fn long_mode_with_second_vcpu(accesses: &[Access]) -> Vec<u8> {
    assemble(64, ENTRY, |code| {
        start_second_vcpu(code)?;
        long_mode_accesses(code, accesses)
    })
}

/// Assembles a program for [`ENTRY`] that reports that it runs, and then loops without leaving the
/// guest.
pub fn greet_and_spin() -> Vec<u8> {
    assemble(64, ENTRY, |code| {
        greet(code)?;
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.pause()?;
        code.jmp(again)
    })
}

/// Assembles a program for [`ENTRY`] that reports that it runs, and then increments the word at
/// `address` in a loop.
pub fn greet_and_count(address: u64) -> Vec<u8> {
    assemble(64, ENTRY, |code| {
        greet(code)?;
        let mut again = code.create_label();
        code.mov(rbx, address)?;
        code.set_label(&mut again)?;
        code.inc(qword_ptr(rbx))?;
        code.jmp(again)
    })
}

/// Assembles a program for [`ENTRY`] that makes one request after another.
pub fn chatter(port: u16) -> Vec<u8> {
    assemble(64, ENTRY, |code| chat(code, port))
}

fn chat(code: &mut CodeAssembler, port: u16) -> Result<(), IcedError> {
    let mut again = code.create_label();
    code.xor(eax, eax)?;
    code.mov(dx, u32::from(port))?;
    code.set_label(&mut again)?;
    code.out(dx, eax)?;
    code.inc(eax)?;
    code.jmp(again)
}

/// Assembles a program that first starts a second vCPU at [`REAL_MODE_ENTRY`], and then makes one
/// request after another.
pub fn chatter_with_second_vcpu(port: u16) -> Vec<u8> {
    assemble(64, ENTRY, |code| {
        start_second_vcpu(code)?;
        chat(code, port)
    })
}

/// Assembles a program for [`REAL_MODE_ENTRY`] that makes one request after another and stores
/// their number at `answered`.
pub fn real_mode_chatter(port: u16, answered: u64) -> Vec<u8> {
    assemble(16, REAL_MODE_ENTRY, |code| {
        let mut again = code.create_label();
        code.xor(eax, eax)?;
        code.mov(dx, u32::from(port))?;
        code.mov(bx, answered as u32)?;
        code.set_label(&mut again)?;
        code.out(dx, eax)?;
        code.inc(eax)?;
        code.mov(dword_ptr(bx), eax)?;
        code.jmp(again)
    })
}

fn long_mode_accesses(code: &mut CodeAssembler, accesses: &[Access]) -> Result<(), IcedError> {
    let mut slot = RESULTS;
    for access in accesses {
        code.mov(rax, access.value.unwrap_or(PATTERN))?;
        match access.target {
            Target::Port(port) => port_access(code, port, *access)?,
            Target::Memory(address) => memory_access(code, address, *access)?,
            Target::PciConfig { .. } => {
                panic!("a guest accesses configuration space through ports")
            }
        }
        if access.value.is_none() {
            code.mov(rbx, slot)?;
            code.mov(qword_ptr(rbx), rax)?;
            slot += 8;
        }
    }
    done(code)
}

fn port_access(code: &mut CodeAssembler, port: u16, access: Access) -> Result<(), IcedError> {
    code.mov(dx, u32::from(port))?;
    match (access.value, access.width) {
        (None, Width::One) => code.in_(al, dx),
        (None, Width::Two) => code.in_(ax, dx),
        (None, _) => code.in_(eax, dx),
        (Some(_), Width::One) => code.out(dx, al),
        (Some(_), Width::Two) => code.out(dx, ax),
        (Some(_), _) => code.out(dx, eax),
    }
}

fn memory_access(code: &mut CodeAssembler, address: u64, access: Access) -> Result<(), IcedError> {
    code.mov(rbx, address)?;
    match (access.value, access.width) {
        (None, Width::One) => code.mov(al, byte_ptr(rbx)),
        (None, Width::Two) => code.mov(ax, word_ptr(rbx)),
        (None, Width::Four) => code.mov(eax, dword_ptr(rbx)),
        (None, Width::Eight) => code.mov(rax, qword_ptr(rbx)),
        (Some(_), Width::One) => code.mov(byte_ptr(rbx), al),
        (Some(_), Width::Two) => code.mov(word_ptr(rbx), ax),
        (Some(_), Width::Four) => code.mov(dword_ptr(rbx), eax),
        (Some(_), Width::Eight) => code.mov(qword_ptr(rbx), rax),
    }
}

fn greet(code: &mut CodeAssembler) -> Result<(), IcedError> {
    code.mov(dx, u32::from(DONE_PORT))?;
    code.out(dx, al)
}

/// Emits the report that a program is done, and its end.
pub fn done(code: &mut CodeAssembler) -> Result<(), IcedError> {
    greet(code)?;
    let mut again = code.create_label();
    code.set_label(&mut again)?;
    code.cli()?;
    code.hlt()?;
    code.jmp(again)
}

/// Emits INIT and SIPI for the other vCPU.
fn start_second_vcpu(code: &mut CodeAssembler) -> Result<(), IcedError> {
    let startup = ICR_STARTUP | (REAL_MODE_ENTRY >> 12) as u32;
    for command in [ICR_INIT, startup] {
        code.mov(rbx, ICR_LOW)?;
        code.mov(dword_ptr(rbx), command)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_mode_bytes() {
        let access = [write(Target::Port(0x60), Width::One, 0x5a)];
        let code = real_mode(SECOND_RESULTS, &access);
        // mov eax, 5ah; mov dx, 60h; out dx, al; mov dx, e0h; out dx, al; cli; hlt; jmp -4
        let expected = [
            0x66, 0xb8, 0x5a, 0, 0, 0, 0xba, 0x60, 0, 0xee, 0xba, 0xe0, 0, 0xee, 0xfa, 0xf4, 0xeb,
            0xfc,
        ];
        assert_eq!(code, expected);
    }

    #[test]
    fn all_programs_assemble() {
        let mut accesses = Vec::new();
        for width in [Width::One, Width::Two, Width::Four, Width::Eight] {
            accesses.push(read(Target::Memory(0xd000_0000), width));
            accesses.push(write(Target::Memory(0xd000_0000), width, 1));
        }
        assert!(!long_mode_with_second_vcpu(&accesses).is_empty());
        assert!(!greet_and_spin().is_empty() && !greet_and_count(0x40_0000).is_empty());
        assert!(!chatter(1).is_empty() && !chatter_with_second_vcpu(1).is_empty());
        assert!(!real_mode_chatter(1, SECOND_RESULTS).is_empty());
    }

    #[test]
    fn registers_after_reads() {
        let answer = 0xaabb_ccdd_eeff_0011;
        let after =
            |target, width| register_after_read(&read(target, width), answer, Operand::Bits64);
        let (port, memory) = (Target::Port(0x60), Target::Memory(0xd000_0000));
        for target in [port, memory] {
            assert_eq!(after(target, Width::One), 0x1122_3344_5566_7711);
            assert_eq!(after(target, Width::Two), 0x1122_3344_5566_0011);
        }
        assert_eq!(after(port, Width::Four), 0x1122_3344_eeff_0011);
        assert_eq!(after(memory, Width::Four), 0xeeff_0011);
        assert_eq!(after(memory, Width::Eight), answer);
        let narrow = register_after_read(&read(port, Width::One), 0, Operand::Bits32);
        assert_eq!(narrow, 0x5566_7700);
    }
}
