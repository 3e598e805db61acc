// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Exits of the Service VM.

use super::{cpuid, msr};
use crate::phys::ServiceMemory;
use crate::svm::{self, Context};
use crate::user_memory::{self, Code};
use crate::{cpu, handoff, hypercall, lapic, log, phys, slot_trap, slow_sender};
use mini_acrn_logic::cpuid::Guest;
use mini_acrn_logic::decode::{self, Insn};
use mini_acrn_logic::npt::PAGE;
use mini_acrn_logic::vmcb::{Event, GP, UD, exit, npf};

/// Handles the exit of CPU `id` of the Service VM.
///
/// Returns whether the CPU enters the guest again. It does not if it has parked itself or was taken
/// from the Service VM.
pub fn handle(cx: &mut Context, id: usize) -> bool {
    match cx.vmcb.control.exit_code {
        exit::CPUID => cpuid::exit(cx, Guest::Service),
        exit::MSR => msr::service_exit(cx, id),
        exit::UD => undefined(cx),
        exit::NPF => nested_fault(cx, id),
        exit::DB => {
            cx.end_step();
            slot_trap::end_step();
            slow_sender::step(cx, id);
        }
        exit::VMMCALL if cx.vmcb.save.rip == handoff::reset_vector() => return false,
        exit::NMI => {
            svm::acknowledge_nmi();
            if cpu::is_removed(id) {
                return false;
            }
            cx.inject(Event::NMI);
        }
        exit::SHUTDOWN => {
            panic!("Service VM: triple fault on CPU {id} at {:#x}", cx.vmcb.save.rip)
        }
        exit::INVALID => panic!("Service VM: the VMCB of CPU {id} is invalid"),
        // Instructions of SVM: the CPUs of the Service VM do not have SVM.
        _ => cx.inject(Event::fault(UD)),
    }
    true
}

/// Reads the instruction at RIP, as far as it is readable.
fn fetch(cx: &Context) -> Code {
    user_memory::fetch_with(&cx.vmcb.save, &ServiceMemory, |gpa, out| {
        phys::is_service_ram(gpa, out.len() as u64).then_some(())?;
        phys::read_bytes(gpa, out)
    })
}

/// Handles #UD: a VMCALL is a hypercall. Any other instruction gets the exception.
fn undefined(cx: &mut Context) {
    if !fetch(cx).bytes().starts_with(&[0x0F, 0x01, 0xC1]) {
        cx.inject(Event::fault(UD));
    } else if cx.vmcb.save.cpl != 0 {
        cx.inject(Event::fault_with_code(GP, 0));
    } else if hypercall::exit(cx) {
        cx.skip(3);
    }
}

/// Returns the instruction at RIP and the value that it stores, if that is all that it does.
fn fetch_store(cx: &mut Context) -> Option<(Insn, u64)> {
    let insn = decode::decode(fetch(cx).bytes(), cx.vmcb.save.mode().bits)?;
    let value = insn.stored(cx.gprs()).filter(|_| !insn.is_string())?;
    Some((insn, value))
}

/// Handles an access that the nested page tables do not allow: a write to the mailbox or to
/// the LAPIC, or an access that the Service VM must not make.
fn nested_fault(cx: &mut Context, id: usize) {
    let gpa = cx.vmcb.control.exit_info2;
    let write = cx.vmcb.control.exit_info1 & npf::WRITE != 0;
    if write && slot_trap::begin_step(cx, gpa & !(PAGE - 1)) {
        return;
    }
    if write
        && gpa & !(PAGE - 1) == lapic::BASE
        && let Some((insn, value)) = fetch_store(cx)
    {
        slow_sender::write(cx, id, gpa & (PAGE - 1), value as u32);
        return cx.skip(insn.len);
    }
    let offset = gpa.wrapping_sub(handoff::mailbox());
    if write
        && offset < PAGE
        && let Some((insn, value)) = fetch_store(cx)
    {
        let _mailbox = handoff::MAILBOX_LOCK.lock();
        let target = handoff::mailbox_write(offset as usize, &value.to_le_bytes()[..insn.size]);
        match target.filter(|id| *id != cpu::BOOT) {
            Some(id) if cpu::claim_for_service(id) => cpu::wake_for_mailbox(id),
            // The CPU does not start, as on ACRN, but Linux waits for the acknowledgement.
            Some(id) => {
                handoff::mailbox_take(id);
            }
            None => {}
        }
        return cx.skip(insn.len);
    }
    log!(
        "Service VM: access to {gpa:#x} at {:#x} not allowed (code {:#x})",
        cx.vmcb.save.rip,
        cx.vmcb.control.exit_info1
    );
    cx.inject(Event::fault_with_code(GP, 0));
}
