// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Nested page faults of User VMs: accesses to devices, in mini-ACRN or in the Service VM.

use super::{apic, string_io};
use crate::ioreq::{self, Request};
use crate::svm::Context;
use crate::vcpu::{Next, Vcpu, answered};
use crate::vm::Vm;
use crate::{interrupt, lapic, user_memory};
use acrn_uapi::ACRN_IOREQ_TYPE_MMIO;
use mini_acrn_logic::decode::{self, Insn};
use mini_acrn_logic::ioapic;
use mini_acrn_logic::npt::PAGE;
use mini_acrn_logic::regs::mask;
use mini_acrn_logic::vmcb::{CR0_PG, Event, UD, npf};

/// Reads (`write` is `None`) or writes a device register.
pub fn access(
    vm: &Vm,
    vcpu: &Vcpu,
    id: usize,
    gpa: u64,
    size: usize,
    write: Option<u64>,
) -> Result<u64, Next> {
    let offset = gpa & (PAGE - 1);
    match gpa & !(PAGE - 1) {
        lapic::BASE => Ok(apic::access(vm, id, offset, write.map(|v| v as u32)).into()),
        ioapic::BASE => {
            let Some(value) = write else { return Ok(vm.ioapic.lock().read(offset).into()) };
            let message = vm.ioapic.lock().write(offset, value as u32);
            message.into_iter().for_each(|m| interrupt::deliver(vm, m));
            Ok(0)
        }
        _ => {
            let request = Request {
                kind: ACRN_IOREQ_TYPE_MMIO,
                write: write.is_some(),
                address: gpa,
                size,
                value: write.unwrap_or(0) & mask(size),
            };
            answered(ioreq::issue(vm, vcpu, id, &request))
        }
    }
}

/// Carries out the instruction that stopped `cx`.
pub fn exit(vm: &Vm, vcpu: &Vcpu, id: usize, cx: &mut Context) -> Next {
    let (info, gpa) = (cx.vmcb.control.exit_info1, cx.vmcb.control.exit_info2);
    if info & (npf::FETCH | npf::TABLE) != 0 {
        return Next::Fail;
    }
    let write = info & npf::WRITE != 0;
    // A mapping that a hypercall has just made, or an entry that another CPU saw too late.
    if vm
        .query(gpa)
        .is_some_and(|l| !write || l.access.contains(mini_acrn_logic::npt::Access::WRITE))
    {
        return Next::Run;
    }
    let Some(insn) = decode(vm, cx) else {
        cx.inject(Event::fault(UD));
        return Next::Run;
    };
    if insn.is_string() {
        return string_io::memory(vm, vcpu, id, cx, &insn, gpa, write);
    }
    match carry_out(vm, vcpu, id, cx, &insn, gpa) {
        Ok(()) => {
            cx.skip(insn.len);
            Next::Run
        }
        Err(next) => next,
    }
}

/// The instruction at RIP, if ACRN would know it: it knows none of a guest without paging.
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
) -> Result<(), Next> {
    if let Some(value) = insn.stored(cx.gprs()) {
        access(vm, vcpu, id, gpa, insn.size, Some(value))?;
        return Ok(());
    }
    let value = access(vm, vcpu, id, gpa, insn.size, None)?;
    // Registers change only when the write-back is done as well.
    let mut gprs = *cx.gprs();
    let outcome = insn.loaded(value, &mut gprs, cx.vmcb.save.rflags);
    if let Some(value) = outcome.write {
        access(vm, vcpu, id, gpa, insn.size, Some(value))?;
    }
    *cx.gprs() = gprs;
    cx.vmcb.save.rflags = outcome.rflags;
    Ok(())
}
