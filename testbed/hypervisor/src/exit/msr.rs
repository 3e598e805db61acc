// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! RDMSR and WRMSR exits.

use super::apic;
use crate::svm::Context;
use crate::vm::Vm;
use mini_acrn_logic::msrpm::{APIC_BASE, EFER, PAT, TSC, VM_CR, VM_HSAVE_PA};
use mini_acrn_logic::regs::{RAX, RCX, RDX};
use mini_acrn_logic::vmcb::{Event, GP};

const TSC_DEADLINE: u32 = 0x6E0;
const MTRR_CAP: u32 = 0xFE;
const MTRR_DEF_TYPE: u32 = 0x2FF;
/// SVM is disabled, and the setting is locked.
const VM_CR_LOCKED: u64 = 1 << 3 | 1 << 4;

fn value(cx: &mut Context) -> u64 {
    let r = cx.gprs().0;
    (r[RDX] << 32) | (r[RAX] & 0xFFFF_FFFF)
}

fn finish(cx: &mut Context, read: Option<u64>) {
    if let Some(v) = read {
        cx.gprs().0[RAX] = v & 0xFFFF_FFFF;
        cx.gprs().0[RDX] = v >> 32;
    }
    cx.skip(2);
}

/// Emulates the MSRs that all VMs share. Returns `Some(Some(_))` for a read, `Some(None)` for a
/// write, and `None` for any other MSR.
fn common(cx: &mut Context, msr: u32, write: bool) -> Option<Option<u64>> {
    let new = value(cx);
    let save = &mut cx.vmcb.save;
    match (msr, write) {
        (EFER, false) => return Some(Some(save.guest_efer())),
        (EFER, true) => save.set_guest_efer(new),
        (PAT, false) => return Some(Some(save.g_pat)),
        (PAT, true) => save.g_pat = new,
        (VM_CR, false) => return Some(Some(VM_CR_LOCKED)),
        (VM_HSAVE_PA, false) => return Some(Some(0)),
        (VM_CR | VM_HSAVE_PA, true) => {}
        _ => return None,
    }
    Some(None)
}

/// Returns the APIC base of CPU `id` of a VM: the LAPIC is enabled at its default address, and CPU
/// 0 is the boot CPU.
fn apic_base(id: usize) -> u64 {
    crate::lapic::BASE | 1 << 11 | u64::from(id == 0) << 8
}

/// Emulates the access that made CPU `id` of the Service VM exit.
pub fn service_exit(cx: &mut Context, id: usize) {
    let (msr, write) = (cx.gprs().0[RCX] as u32, cx.vmcb.control.exit_info1 & 1 != 0);
    match common(cx, msr, write) {
        Some(read) => finish(cx, read),
        None if (msr, write) == (APIC_BASE, false) => finish(cx, Some(apic_base(id))),
        // The MSR is outside the ranges of the permission map: it does not exist.
        None => cx.inject(Event::fault_with_code(GP, 0)),
    }
}

/// Emulates the access that made a vCPU of a User VM exit. MSRs that mini-ACRN does not know read
/// as zero and ignore writes.
pub fn user_exit(cx: &mut Context, vm: &Vm, id: usize) {
    let (msr, write) = (cx.gprs().0[RCX] as u32, cx.vmcb.control.exit_info1 & 1 != 0);
    let read = common(cx, msr, write).unwrap_or_else(|| {
        if (msr, write) == (TSC_DEADLINE, true) {
            apic::set_deadline(vm, id, value(cx));
        }
        (!write).then(|| match msr {
            TSC_DEADLINE => apic::deadline(vm, id),
            APIC_BASE => apic_base(id),
            TSC => crate::time::now(),
            // Write-combining supported, no fixed and no variable ranges.
            MTRR_CAP => 1 << 10,
            // Enabled, write-back.
            MTRR_DEF_TYPE => 1 << 11 | 6,
            _ => 0,
        })
    });
    finish(cx, read);
}
