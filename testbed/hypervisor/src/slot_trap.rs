// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A trap for the moment at which the Service VM completes a request.
//!
//! mini-ACRN consumes the request before the CPU that has made it COMPLETE executes its next
//! instruction. A hypervisor that polls may do the same. While the trap is set, the request page is
//! read-only for the Service VM, and each instruction that writes to it is single-stepped.

use crate::ioreq;
use crate::service::memory;
use crate::svm::Context;
use crate::vm::{self, Vm};
use acrn_uapi::ACRN_IOREQ_STATE_COMPLETE;
use core::sync::atomic::Ordering;
use spin::Mutex;

struct Trap {
    vm: &'static Vm,
    index: usize,
    page: u64,
}

static TRAP: Mutex<Option<Trap>> = Mutex::new(None);
/// The page of the last trap. A CPU that enters the guest later than others may still have it
/// read-only.
static LAST: Mutex<Option<u64>> = Mutex::new(None);

/// Sets the trap for slot `index` of `vm`. Returns false if the VM has no request page.
pub fn set(vm: &'static Vm, index: usize) -> bool {
    let page = vm.request_page.load(Ordering::Acquire);
    if vm.slot(index).is_none() || !memory::protect(page, true) {
        return false;
    }
    *TRAP.lock() = Some(Trap { vm, index, page });
    *LAST.lock() = Some(page);
    true
}

/// Removes the trap.
pub fn clear() {
    if let Some(trap) = TRAP.lock().take() {
        memory::protect(trap.page, false);
    }
}

/// Handles a write of the Service VM to `page`. Returns whether the page is that of a trap. In this
/// case the CPU executes the one instruction.
pub fn begin_step(cx: &mut Context, page: u64) -> bool {
    let trap = TRAP.lock();
    if trap.as_ref().is_some_and(|trap| trap.page == page) {
        memory::protect(page, false);
        cx.begin_step();
        return true;
    }
    *LAST.lock() == Some(page)
}

/// Handles the end of a single step.
pub fn end_step() {
    let mut trap = TRAP.lock();
    let Some(Trap { vm, index, page }) = *trap else { return };
    let Some(slot) = vm.slot(index).filter(|slot| slot.state() == ACRN_IOREQ_STATE_COMPLETE) else {
        memory::protect(page, true);
        return;
    };
    // The slot is now free for a request that is completed in the other way.
    ioreq::consume(vm, index, &slot);
    slot.toggle_polling();
    vm.raised.fetch_and(!(1 << index), Ordering::AcqRel);
    *trap = None;
}

/// Sets the trap for the slot of `word`: the VM id in bits 15:0, the vCPU above.
pub fn set_by_word(word: u64) -> bool {
    vm::get(word & 0xFFFF).is_ok_and(|vm| set(vm, (word >> 16) as usize))
}
