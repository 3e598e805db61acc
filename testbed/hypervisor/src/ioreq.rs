// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! I/O requests: the hypervisor's side of the request page.

use crate::request_page::{Request, Slot};
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use crate::{cpu, lapic, log, trace};
use acrn_uapi::{
    ACRN_IOREQ_STATE_COMPLETE, ACRN_IOREQ_STATE_FREE, ACRN_IOREQ_STATE_PENDING, acrn_io_request,
};
use core::hint::spin_loop;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, Ordering};
use mini_acrn_channel::{ANY_VM, kind};

const DEFAULT_VECTOR: u8 = 0xF3;
/// The CPU that gets all upcalls.
const UPCALL_CPU: usize = 0;

static VECTOR: AtomicU8 = AtomicU8::new(DEFAULT_VECTOR);

/// Sets the vector of the upcall.
pub fn set_vector(vector: u8) {
    VECTOR.store(vector, Ordering::Relaxed);
}

/// Fires the upcall, which makes the driver check its request pages.
pub fn upcall() {
    trace::push(kind::UPCALL, ANY_VM, &[], |_| {});
    lapic::send(cpu::lapic_id(UPCALL_CPU), VECTOR.load(Ordering::Relaxed));
}

/// The outcome of an I/O request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completion {
    /// The request is complete. Holds the value of a read.
    Done(u64),
    /// The vCPU was told to stop.
    Stopped,
    /// The slot is not FREE, or no request page is set.
    Refused,
}

fn record(kind: u16, vm: &Vm, index: usize, bytes: &[u8]) {
    trace::push(kind, vm.id, bytes, |r| r.p1 = index as u64);
}

/// Makes a slot PENDING and records it in the trace.
pub fn publish(vm: &Vm, index: usize, slot: &Slot) {
    let mut bytes = slot.bytes();
    let at = offset_of!(acrn_io_request, processed);
    bytes[at..at + 4].copy_from_slice(&ACRN_IOREQ_STATE_PENDING.to_le_bytes());
    record(kind::REQUEST_PENDING, vm, index, &bytes);
    slot.set_state(ACRN_IOREQ_STATE_PENDING);
}

/// Makes a COMPLETE slot FREE and records it in the trace. A slot in any other state keeps it, and
/// is recorded as wedged. Returns whether the slot was COMPLETE.
pub fn consume(vm: &Vm, index: usize, slot: &Slot) -> bool {
    let complete = slot.state() == ACRN_IOREQ_STATE_COMPLETE;
    let kind = if complete { kind::REQUEST_CONSUMED } else { kind::REQUEST_WEDGED };
    record(kind, vm, index, &slot.bytes());
    if complete {
        slot.set_state(ACRN_IOREQ_STATE_FREE);
    }
    complete
}

/// Issues `request` and waits for its completion.
pub fn issue(vm: &Vm, vcpu: &Vcpu, index: usize, request: &Request) -> Completion {
    let Some(slot) = vm.slot(index) else { return Completion::Refused };
    if slot.state() != ACRN_IOREQ_STATE_FREE {
        log!("VM {} vCPU {index}: request slot is in state {}, not FREE", vm.id, slot.state());
        return Completion::Refused;
    }
    let polling = vm.polling.load(Ordering::Acquire);
    slot.fill(request, polling);
    publish(vm, index, &slot);
    upcall();
    let done = || {
        if polling { slot.state() == ACRN_IOREQ_STATE_COMPLETE } else { vcpu.take_notification() }
    };
    while !done() {
        if vcpu.is_stopping() {
            return Completion::Stopped;
        }
        if vcpu.is_paused() {
            vcpu.block_in_request(polling);
        } else if polling {
            spin_loop();
        } else {
            vcpu.sleep();
        }
    }
    let value = slot.value(request.kind);
    consume(vm, index, &slot);
    Completion::Done(value)
}
