// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! INJECT_MSI, SET_IRQLINE and VM_INTR_MONITOR.

use crate::vm::{self, Vm};
use crate::{interrupt, phys, rule};
use acrn_hypercall_abi::{Hypercall, IntrMonitor};
use acrn_uapi::acrn_msi_entry;
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use mini_acrn_logic::apic::Message;
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::ioapic::{LineOp, PINS};
use mini_acrn_logic::npt::PAGE;

/// Size in bytes of the structure of VM_INTR_MONITOR.
const MONITOR_SIZE: u64 = size_of::<IntrMonitor>() as u64;

pub fn inject_msi(vmid: u64, gpa: u64) -> Result {
    let vm = vm::get(vmid)?;
    vm.require_not_off()?;
    let msi: acrn_msi_entry = phys::read(gpa).ok_or(Errno::GENERIC)?;
    let message = Message::from_msi(msi.msi_addr, msi.msi_data).ok_or(Errno::GENERIC)?;
    interrupt::deliver(vm, message);
    Ok(())
}

pub fn set_irqline(vmid: u64, value: u64) -> Result {
    let vm = vm::get(vmid)?;
    vm.require_not_off()?;
    let (gsi, op) = (value as u32 as usize, (value >> 32) as u32);
    if gsi >= PINS {
        return Err(Errno::GENERIC);
    }
    // Operations that ACRN does not know have no effect.
    let message = LineOp::from_op(op).and_then(|line| vm.ioapic.lock().set_line(gsi, line));
    message.into_iter().for_each(|m| interrupt::deliver(vm, m));
    Ok(())
}

/// Reads the counts of interrupts, or delays interrupts.
pub fn monitor(vmid: u64, gpa: u64) -> Result {
    let vm = vm::get(vmid)?;
    vm.require_not_off().map_err(|_| Errno::INVAL)?;
    // ACRN expects a page without checking it. A structure on two pages would be misread there.
    if (gpa & (PAGE - 1)) + MONITOR_SIZE > PAGE || !phys::is_service_ram(gpa, MONITOR_SIZE) {
        return Err(Errno::INVAL);
    }
    let [cmd, count]: [u32; 2] = phys::read(gpa).ok_or(Errno::INVAL)?;
    match cmd {
        _ if count as usize > IntrMonitor::BUFFER => Err(Errno::INVAL),
        IntrMonitor::GET => interrupt_counts(vm, gpa, count).ok_or(Errno::INVAL),
        // There is no passed-through device whose interrupts could be delayed.
        IntrMonitor::DELAY => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Fills the buffer of the parameter at `gpa`, which is said to have `count` entries: pairs of an
/// interrupt and its count.
///
/// ACRN counts the interrupts of passed-through devices by their physical number. mini-ACRN counts
/// the interrupts that were sent to the VM by vector.
fn interrupt_counts(vm: &Vm, gpa: u64, count: u32) -> Option<()> {
    let counts = vm.interrupts.iter().map(|n| n.load(Ordering::Relaxed));
    let seen = (0u64..).zip(counts).filter(|(_, n)| *n > 0);
    let mut filled = 0u32;
    for (vector, n) in seen {
        let entry = filled as usize;
        if entry + 2 <= IntrMonitor::BUFFER {
            let offset = offset_of!(IntrMonitor, buffer) + entry * 8;
            phys::write(gpa + offset as u64, &[vector, n])?;
        } else if entry == IntrMonitor::BUFFER {
            // ACRN writes to the memory behind it.
            let rule = format_args!("more counts than fit, as the buffer has {count} entries");
            rule::broken(vm.id, Hypercall::VmIntrMonitor, rule);
        }
        filled += 2;
        // As in ACRN, which looks after the first pair, and takes fewer than two entries for more
        // than any VM has.
        if filled > count.wrapping_sub(2) {
            break;
        }
    }
    phys::write(gpa, &[IntrMonitor::GET, filled])
}
