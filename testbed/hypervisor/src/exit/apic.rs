// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The local APIC of a User VM's vCPU.
//!
//! Most registers are those of the CPU's local APIC. Identity, interrupt commands and the sources
//! other than the timer are shadowed. TSC-deadline mode of the timer is emulated by its one-shot
//! mode.

use crate::shadow_apic::{MASKED, Shadow};
use crate::vm::Vm;
use crate::{interrupt, lapic, time};
use mini_acrn_logic::apic::{FIRST_VECTOR, Ipi, ipi};

const ID: u64 = 0x20;
const VERSION: u64 = 0x30;
const TPR: u64 = 0x80;
const LDR: u64 = 0xD0;
const DFR: u64 = 0xE0;
const SVR: u64 = 0xF0;
const ESR: u64 = 0x280;
const ICR: u64 = 0x300;
const ICR_HIGH: u64 = 0x310;
const LVT_TIMER: u64 = 0x320;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3E0;
/// Timer mode in the local vector table: TSC deadline.
const DEADLINE_MODE: u32 = 1 << 18;

/// Reads (`write` is `None`) or writes the register at `offset` of vCPU `id`. The CPU of the vCPU
/// calls this.
pub fn access(vm: &Vm, id: usize, offset: u64, write: Option<u32>) -> u32 {
    match write {
        Some(value) => {
            write_register(vm, id, offset, value);
            0
        }
        None => read_register(vm, id, offset),
    }
}

fn read_register(vm: &Vm, id: usize, offset: u64) -> u32 {
    let shadow = &mut *vm.vcpus()[id].apic.lock();
    match offset {
        ID => u32::from(vm.vcpus()[id].apic_id()) << 24,
        LDR => vm.logical.lock()[id].ldr,
        DFR => vm.logical.lock()[id].dfr,
        ICR => shadow.icr,
        ICR_HIGH => shadow.icr_high,
        0x330..=0x370 => shadow.lvt(offset).map_or(0, |l| *l),
        LVT_TIMER => shadow.deadline_lvt.unwrap_or_else(|| lapic::read(offset)),
        VERSION
        | TPR
        | 0x90..=0xA0
        | SVR
        | 0x100..=ESR
        | TIMER_INITIAL
        | TIMER_CURRENT
        | TIMER_DIVIDE => lapic::read(offset),
        _ => 0,
    }
}

fn write_register(vm: &Vm, id: usize, offset: u64, value: u32) {
    let vcpu = &vm.vcpus()[id];
    match offset {
        LDR => vm.logical.lock()[id].ldr = value & 0xFF00_0000,
        DFR => vm.logical.lock()[id].dfr = value | 0x0FFF_FFFF,
        lapic::EOI => end_of_interrupt(vm),
        ICR_HIGH => vcpu.apic.lock().icr_high = value,
        ICR => {
            let high = {
                let shadow = &mut *vcpu.apic.lock();
                // The delivery status is read-only and always idle.
                shadow.icr = value & !(1 << 12);
                shadow.icr_high
            };
            command(vm, id, value, high);
        }
        LVT_TIMER => write_timer_entry(&mut vcpu.apic.lock(), value),
        // In TSC-deadline mode the guest cannot set the count.
        TIMER_INITIAL | TIMER_DIVIDE if vcpu.apic.lock().deadline_lvt.is_some() => {}
        0x330..=0x370 => {
            if let Some(l) = vcpu.apic.lock().lvt(offset) {
                *l = value;
            }
        }
        TPR | SVR | ESR | TIMER_INITIAL | TIMER_DIVIDE => lapic::write(offset, value),
        _ => {}
    }
}

fn write_timer_entry(shadow: &mut Shadow, value: u32) {
    let deadline = value & DEADLINE_MODE != 0;
    if deadline || shadow.deadline_lvt.is_some() {
        // A change of the mode disarms the timer.
        lapic::start_timer(0);
        shadow.deadline = 0;
    }
    shadow.deadline_lvt = deadline.then_some(value);
    // One-shot is mode 0. An illegal vector is replaced, because mini-ACRN would take its interrupt
    // for an exception of its own.
    let real = if deadline { value & !(3 << 17) } else { value };
    let legal = real as u8 >= FIRST_VECTOR;
    lapic::write(LVT_TIMER, if legal { real } else { real | MASKED | u32::from(FIRST_VECTOR) });
}

/// Returns TSC_DEADLINE, which is 0 once the timer has fired.
pub fn deadline(vm: &Vm, id: usize) -> u64 {
    let shadow = vm.vcpus()[id].apic.lock();
    if shadow.deadline > time::now() { shadow.deadline } else { 0 }
}

/// Sets TSC_DEADLINE. The CPU of the vCPU calls this.
///
/// A deadline beyond the range of the timer fires early, which a guest has to expect of any timer.
pub fn set_deadline(vm: &Vm, id: usize, tsc: u64) {
    let shadow = &mut *vm.vcpus()[id].apic.lock();
    if shadow.deadline_lvt.is_none() {
        return;
    }
    shadow.deadline = tsc;
    let ticks = if tsc == 0 { 0 } else { time::lapic_ticks(tsc.saturating_sub(time::now())) };
    lapic::start_timer(ticks);
}

fn end_of_interrupt(vm: &Vm) {
    let ended = lapic::in_service();
    lapic::write(lapic::EOI, 0);
    if let Some(vector) = ended {
        let again = vm.ioapic.lock().end_of_interrupt(vector);
        again.into_iter().for_each(|m| interrupt::deliver(vm, m));
    }
}

fn command(vm: &Vm, id: usize, low: u32, high: u32) {
    let (table, count) = interrupt::addresses(vm);
    let Some((command, targets)) = ipi(low, high, id, &table[..count]) else { return };
    let each =
        || vm.vcpus().iter().enumerate().filter(|(i, _)| targets & 1 << i != 0).map(|(_, v)| v);
    match command {
        Ipi::Fixed(vector) => interrupt::send(vm, targets, vector),
        Ipi::Lowest(vector) => interrupt::send(vm, targets & targets.wrapping_neg(), vector),
        Ipi::Nmi => each().for_each(|v| v.send_nmi()),
        Ipi::Init => each().for_each(|v| v.send_init()),
        Ipi::Startup(page) => each().for_each(|v| v.send_startup(page)),
    }
}
