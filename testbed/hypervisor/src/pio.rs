// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Port I/O of User VMs (AMD APM vol. 2, 15.10.2).

use crate::ioreq::{self, Request};
use crate::string_io;
use crate::svm::Context;
use crate::user_memory;
use crate::vcpu::{Next, Vcpu, answered};
use crate::vm::Vm;
use acrn_uapi::ACRN_IOREQ_TYPE_PORTIO;
use core::sync::atomic::Ordering;
use mini_acrn_logic::decode;
use mini_acrn_logic::regs::{RAX, Reg, mask};

const IN: u64 = 1 << 0;
const STRING: u64 = 1 << 2;

/// Reads (`write` is `None`) or writes a port.
pub fn access(
    vm: &Vm,
    vcpu: &Vcpu,
    id: usize,
    port: u16,
    size: usize,
    write: Option<u64>,
) -> Result<u64, Next> {
    if let Some(value) = pic(vm, port, write) {
        return Ok(value);
    }
    let request = Request {
        kind: ACRN_IOREQ_TYPE_PORTIO,
        write: write.is_some(),
        address: port.into(),
        size,
        value: write.unwrap_or(0) & mask(size),
    };
    answered(ioreq::issue(vm, vcpu, id, &request))
}

/// The PICs: their mask registers can be read back, which is how an OS finds out that they are there.
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

/// Carries out the instruction that stopped `cx`.
pub fn exit(vm: &Vm, vcpu: &Vcpu, id: usize, cx: &mut Context) -> Next {
    let (info, next_rip) = (cx.vmcb.control.exit_info1, cx.vmcb.control.exit_info2);
    let port = (info >> 16) as u16;
    if info & STRING != 0 {
        let code = user_memory::fetch(vm, &cx.vmcb.save);
        let Some(insn) = decode::decode(code.bytes(), cx.vmcb.save.mode().bits) else { return Next::Fail };
        return string_io::port(vm, vcpu, id, cx, &insn, port);
    }
    // Bits 4 to 6 are 1, 2 and 4 bytes.
    let size = (info >> 4 & 7) as usize;
    let rax = Reg { index: RAX, size, high: false };
    let write = (info & IN == 0).then(|| cx.gprs().get(rax));
    match access(vm, vcpu, id, port, size, write) {
        Ok(value) => {
            if write.is_none() {
                cx.gprs().set(rax, value);
            }
            cx.vmcb.save.rip = next_rip;
            cx.vmcb.control.int_state &= !1;
            Next::Run
        }
        Err(next) => next,
    }
}
