// SPDX-License-Identifier: GPL-2.0

//! A guest that makes requests of all kinds in a loop.

use acrn_selftests::program::{DONE_PORT, REAL_MODE_ENTRY, assemble};
use acrn_uapi::*;
use core::mem::offset_of;
use iced_x86::code_asm::*;

use crate::argument::Structure;

/// Ports that the guest reads and writes.
pub const PORTS: [u16; 5] = [0x510, 0xcf8, 0xcfc, 0x511, DONE_PORT];
/// A real mode segment that is mostly not mapped, to which the guest writes.
pub const SEGMENT: u32 = 0xa000;

const CR0_REAL_MODE: u64 = 1 << 5 | 1 << 4;
const CODE_ACCESS: u32 = 0x9b;

/// Returns the guest's program, for [`REAL_MODE_ENTRY`].
pub fn program() -> Vec<u8> {
    assemble(16, REAL_MODE_ENTRY, |code| {
        let mut again = code.create_label();
        code.mov(ax, SEGMENT)?;
        code.mov(ds, eax)?;
        code.mov(eax, 0x8000_0000u32)?;
        code.set_label(&mut again)?;
        for port in PORTS {
            code.mov(dx, u32::from(port))?;
            code.out(dx, eax)?;
            code.in_(eax, dx)?;
            code.out(dx, al)?;
        }
        code.mov(bx, 0x10)?;
        code.mov(dword_ptr(bx), eax)?;
        code.mov(al, byte_ptr(bx))?;
        code.inc(eax)?;
        code.jmp(again)
    })
}

/// Fills in SET_VCPU_REGS for the program.
pub fn registers(structure: &mut Structure) {
    let at = offset_of!(acrn_vcpu_regs, vcpu_regs);
    structure
        .put(
            at + offset_of!(acrn_regs, rip),
            &REAL_MODE_ENTRY.to_le_bytes(),
        )
        .put(
            at + offset_of!(acrn_regs, cr0),
            &CR0_REAL_MODE.to_le_bytes(),
        )
        .put(at + offset_of!(acrn_regs, rflags), &2u64.to_le_bytes())
        .put(
            at + offset_of!(acrn_regs, cs_ar),
            &CODE_ACCESS.to_le_bytes(),
        )
        .put(
            at + offset_of!(acrn_regs, cs_limit),
            &0xffffu32.to_le_bytes(),
        );
}
