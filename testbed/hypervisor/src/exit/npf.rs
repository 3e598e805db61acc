// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Nested page faults of User VMs: accesses to devices that mini-ACRN or the Service VM emulates.

use super::action::Action;
use super::{mmio, string_io};
use crate::svm::Context;
use crate::user_memory;
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use mini_acrn_logic::decode::{self, Insn};
use mini_acrn_logic::npt::Access;
use mini_acrn_logic::vmcb::{CR0_PG, Event, UD, npf};

/// Emulates the instruction that made `cx` exit.
pub fn exit(vm: &Vm, vcpu: &Vcpu, id: usize, cx: &mut Context) -> Action {
    let (info, gpa) = (cx.vmcb.control.exit_info1, cx.vmcb.control.exit_info2);
    if info & (npf::FETCH | npf::TABLE) != 0 {
        return Action::Fail;
    }
    let write = info & npf::WRITE != 0;
    // The address is mapped: a hypercall has just mapped it, or this CPU has used a stale
    // translation.
    if vm.query(gpa).is_some_and(|l| !write || l.access.contains(Access::WRITE)) {
        return Action::Resume;
    }
    let Some(insn) = decode(vm, cx) else {
        cx.inject(Event::fault(UD));
        return Action::Resume;
    };
    if insn.is_string() {
        return string_io::exit(vm, vcpu, id, cx, &insn, gpa, write);
    }
    match carry_out(vm, vcpu, id, cx, &insn, gpa) {
        Ok(()) => {
            cx.skip(insn.len);
            Action::Resume
        }
        Err(action) => action,
    }
}

/// Decodes the instruction at RIP. Returns `None` for an instruction that ACRN does not decode,
/// which includes every instruction of a guest without paging.
fn decode(vm: &Vm, cx: &Context) -> Option<Insn> {
    let save = &cx.vmcb.save;
    let code = (save.cr0 & CR0_PG != 0).then(|| user_memory::fetch(vm, save))?;
    decode::decode(code.bytes(), save.mode().bits)
}

fn carry_out(
    vm: &Vm,
    vcpu: &Vcpu,
    id: usize,
    cx: &mut Context,
    insn: &Insn,
    gpa: u64,
) -> Result<(), Action> {
    if let Some(value) = insn.stored(cx.gprs()) {
        mmio::access(vm, vcpu, id, gpa, insn.size, Some(value))?;
        return Ok(());
    }
    let value = mmio::access(vm, vcpu, id, gpa, insn.size, None)?;
    // The registers change only after the write-back has succeeded.
    let mut gprs = *cx.gprs();
    let outcome = insn.loaded(value, &mut gprs, cx.vmcb.save.rflags);
    if let Some(value) = outcome.write {
        mmio::access(vm, vcpu, id, gpa, insn.size, Some(value))?;
    }
    *cx.gprs() = gprs;
    cx.vmcb.save.rflags = outcome.rflags;
    Ok(())
}
