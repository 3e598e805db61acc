// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Device registers in the memory of a User VM.

use super::action::{Action, completed};
use super::apic;
use crate::request_page::Request;
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use crate::{interrupt, ioreq, lapic};
use acrn_uapi::ACRN_IOREQ_TYPE_MMIO;
use mini_acrn_logic::ioapic;
use mini_acrn_logic::npt::PAGE;
use mini_acrn_logic::regs::mask;

/// Reads (`write` is `None`) or writes a device register. Registers that mini-ACRN does not emulate
/// become I/O requests.
pub fn access(
    vm: &Vm,
    vcpu: &Vcpu,
    id: usize,
    gpa: u64,
    size: usize,
    write: Option<u64>,
) -> Result<u64, Action> {
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
            completed(ioreq::issue(vm, vcpu, id, &request))
        }
    }
}
