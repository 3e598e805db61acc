// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Port I/O of User VMs (AMD APM vol. 2, 15.10.2).

use super::action::{Action, completed};
use crate::ioreq;
use crate::request_page::Request;
use crate::svm::Context;
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use acrn_uapi::ACRN_IOREQ_TYPE_PORTIO;
use core::sync::atomic::Ordering;
use mini_acrn_logic::config_ports::Access;
use mini_acrn_logic::regs::{RAX, Reg, mask};

const IN: u64 = 1 << 0;
/// ACPI's PM1a control register, as on ACRN, and the value that powers off: sleep type 5, sleep
/// enable.
const PM1A_CONTROL: (u16, usize, u64) = (0x404, 2, 5 << 10 | 1 << 13);

/// Reads (`write` is `None`) or writes a port.
fn access(
    vm: &Vm,
    vcpu: &Vcpu,
    id: usize,
    port: u16,
    size: usize,
    write: Option<u64>,
) -> Result<u64, Action> {
    if let Some(value) = pic(vm, port, write) {
        return Ok(value);
    }
    if let Access::Done(value) = vm.config_address.lock().access(port, size, write) {
        return Ok(value);
    }
    let request = Request {
        kind: ACRN_IOREQ_TYPE_PORTIO,
        write: write.is_some(),
        address: port.into(),
        size,
        value: write.unwrap_or(0) & mask(size),
    };
    completed(ioreq::issue(vm, vcpu, id, &request))
}

/// Emulates the PICs as far as an OS probes them: the mask registers can be read back.
fn pic(vm: &Vm, port: u16, write: Option<u64>) -> Option<u64> {
    let mask = match port {
        0x20 | 0xA0 => return Some(0),
        0x21 => &vm.pic_masks[0],
        0xA1 => &vm.pic_masks[1],
        _ => return None,
    };
    if let Some(value) = write {
        mask.store(value as u8, Ordering::Relaxed);
    }
    Some(mask.load(Ordering::Relaxed).into())
}

/// Asks the device model to power off, on behalf of a guest that has shut down.
pub fn power_off(vm: &Vm, vcpu: &Vcpu, id: usize) -> Action {
    let (port, size, value) = PM1A_CONTROL;
    access(vm, vcpu, id, port, size, Some(value)).map_or_else(|action| action, |_| Action::Resume)
}

/// Emulates the instruction that made `cx` exit.
///
/// As on ACRN, a string instruction is one access with RAX, even if it has a REP prefix. IN leaves
/// the bits of RAX that it does not write unchanged, also with 4 bytes in 64-bit mode.
pub fn exit(vm: &Vm, vcpu: &Vcpu, id: usize, cx: &mut Context) -> Action {
    let (info, next_rip) = (cx.vmcb.control.exit_info1, cx.vmcb.control.exit_info2);
    let port = (info >> 16) as u16;
    // Bits 4, 5 and 6 stand for 1, 2 and 4 bytes.
    let size = (info >> 4 & 7) as usize;
    let write = (info & IN == 0).then(|| cx.gprs().get(Reg { index: RAX, size, high: false }));
    match access(vm, vcpu, id, port, size, write) {
        Ok(value) => {
            if write.is_none() {
                let rax = &mut cx.gprs().0[RAX];
                *rax = *rax & !mask(size) | value & mask(size);
            }
            cx.vmcb.save.rip = next_rip;
            cx.vmcb.control.int_state &= !1;
            Action::Resume
        }
        Err(action) => action,
    }
}
