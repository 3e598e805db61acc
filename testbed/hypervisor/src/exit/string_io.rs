// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! String instructions with one end in a device register (AMD APM vol. 3).
//!
//! mini-ACRN emulates one element per exit. RIP stays at the instruction until the last element, so
//! that the CPU executes it again.

use super::action::Action;
use super::mmio;
use crate::svm::Context;
use crate::user_memory::{self, LinearError};
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use mini_acrn_logic::decode::{Insn, Op};
use mini_acrn_logic::regs::{RAX, RCX, RDI, RSI, Reg, mask};
use mini_acrn_logic::vmcb::{Event, PF};

const DIRECTION: u64 = 1 << 10;
const ES: usize = 0;

/// Returns the linear address of the element at RSI or RDI.
fn linear(cx: &mut Context, insn: &Insn, index: usize) -> u64 {
    cx.save_segments();
    let offset = cx.gprs().0[index] & mask(insn.address_size);
    let save = &cx.vmcb.save;
    let segment = if index == RDI { ES } else { insn.segment };
    let base = [save.es, save.cs, save.ss, save.ds, save.fs, save.gs][segment % 6].base;
    match save.mode().bits {
        // In 64-bit mode only FS and GS have a base.
        64 if segment < 4 => offset,
        64 => base.wrapping_add(offset),
        _ => base.wrapping_add(offset) & 0xFFFF_FFFF,
    }
}

/// Handles an element at a linear address that cannot be accessed: by a page fault of the guest, or
/// by a failure of the vCPU if no memory is mapped there.
fn fault(cx: &mut Context, error: LinearError, at: u64, write: bool) -> Action {
    match error {
        LinearError::NotMapped => {
            let user = u32::from(cx.vmcb.save.cpl == 3) << 2;
            cx.vmcb.save.cr2 = at;
            cx.inject(Event::fault_with_code(PF, user | u32::from(write) << 1));
            Action::Resume
        }
        LinearError::NoMemory => Action::Fail,
    }
}

/// Advances to the next element.
fn advance(cx: &mut Context, insn: &Insn, indices: &[usize]) -> Action {
    let size = insn.size as i64;
    let delta = if cx.vmcb.save.rflags & DIRECTION != 0 { -size } else { size };
    for &index in indices {
        cx.gprs().advance(index, delta, insn.address_size);
    }
    if insn.rep {
        cx.gprs().advance(RCX, -1, insn.address_size);
    }
    if !insn.rep || cx.gprs().0[RCX] & mask(insn.address_size) == 0 {
        cx.skip(insn.len);
    }
    Action::Resume
}

/// Emulates STOS, LODS or MOVS. The element at `gpa` is in a device register, the target if `write`
/// is set and the source otherwise.
pub fn exit(
    vm: &Vm,
    vcpu: &Vcpu,
    id: usize,
    cx: &mut Context,
    insn: &Insn,
    gpa: u64,
    write: bool,
) -> Action {
    let size = insn.size;
    match (insn.op, write) {
        (Op::Stos, true) => {
            let value = cx.gprs().0[RAX] & mask(size);
            match mmio::access(vm, vcpu, id, gpa, size, Some(value)) {
                Ok(_) => advance(cx, insn, &[RDI]),
                Err(action) => action,
            }
        }
        (Op::Lods, false) => match mmio::access(vm, vcpu, id, gpa, size, None) {
            Ok(value) => {
                cx.gprs().set(Reg { index: RAX, size, high: false }, value);
                advance(cx, insn, &[RSI])
            }
            Err(action) => action,
        },
        (Op::Movs, true) => {
            let at = linear(cx, insn, RSI);
            let value = match user_memory::read_linear(vm, &cx.vmcb.save, at, size) {
                Ok(v) => v,
                Err(e) => return fault(cx, e, at, false),
            };
            match mmio::access(vm, vcpu, id, gpa, size, Some(value)) {
                Ok(_) => advance(cx, insn, &[RSI, RDI]),
                Err(action) => action,
            }
        }
        (Op::Movs, false) => {
            let at = linear(cx, insn, RDI);
            if let Err(e) = user_memory::read_linear(vm, &cx.vmcb.save, at, size) {
                return fault(cx, e, at, true);
            }
            match mmio::access(vm, vcpu, id, gpa, size, None) {
                Ok(value) => match user_memory::write_linear(vm, &cx.vmcb.save, at, value, size) {
                    Ok(()) => advance(cx, insn, &[RSI, RDI]),
                    Err(e) => fault(cx, e, at, true),
                },
                Err(action) => action,
            }
        }
        _ => Action::Fail,
    }
}
