// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Interrupts to User VMs. A vCPU uses the local APIC of its CPU, so that mini-ACRN sends them as
//! IPIs.

use crate::vcpu::BlockedOn;
use crate::vm::Vm;
use crate::{lapic, trace};
use core::sync::atomic::Ordering;
use mini_acrn_channel::{kind, vm_state};
use mini_acrn_logic::apic::{Address, Message, Targets};

/// Returns the APIC addresses of the VM's vCPUs, and their number.
pub fn addresses(vm: &Vm) -> ([Address; crate::vm::MAX_VCPUS], usize) {
    let mut table = [Address::default(); crate::vm::MAX_VCPUS];
    let (vcpus, logical) = (vm.vcpus(), vm.logical.lock());
    for ((address, vcpu), logical) in table.iter_mut().zip(vcpus).zip(&*logical) {
        *address = Address { id: vcpu.apic_id(), logical: *logical };
    }
    (table, vcpus.len())
}

/// Sends `vector` to the vCPUs in `targets` that run. In a paused VM this wakes those that are
/// halted.
pub fn send(vm: &Vm, targets: Targets, vector: u8) {
    for (id, vcpu) in vm.vcpus().iter().enumerate() {
        if targets & 1 << id != 0 && vcpu.is_running() {
            lapic::send(vcpu.apic_id(), vector);
            // Not while PAUSE_VM is in progress, because it would then wait for ever.
            if vm.is(vm_state::PAUSED) {
                vcpu.wake(BlockedOn::Interrupt);
            }
        }
    }
}

/// Delivers a message of the Service VM or the I/O APIC and records it in the trace.
pub fn deliver(vm: &Vm, message: Message) {
    if !message.is_interrupt() {
        return;
    }
    let (table, count) = addresses(vm);
    let targets = message.targets(&table[..count]);
    for id in (0..count).filter(|i| targets & 1 << i != 0) {
        trace::push(kind::INTERRUPT, vm.id, &[], |r| {
            (r.p1, r.p2) = (id as u64, message.vector.into())
        });
    }
    if targets != 0 {
        vm.interrupts[usize::from(message.vector)].fetch_add(1, Ordering::Relaxed);
    }
    send(vm, targets, message.vector);
}
