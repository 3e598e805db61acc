// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A request that is taken at the very instant at which the Service VM makes it COMPLETE, as a hypervisor that polls
//! may: before the next instruction of the CPU that did it.
//!
//! The request page is read-only for the Service VM meanwhile. Each instruction that writes to it is executed alone.

use crate::ioreq;
use crate::service::memory;
use crate::svm::Context;
use crate::vm::{self, Vm};
use acrn_uapi::ACRN_IOREQ_STATE_COMPLETE;
use core::sync::atomic::Ordering;
use mini_acrn_logic::vmcb::DB;
use spin::Mutex;

const RFLAGS_TF: u64 = 1 << 8;
/// A single step, in DR6.
const DR6_BS: u64 = 1 << 14;

struct Trap {
    vm: &'static Vm,
    index: usize,
    page: u64,
}

static TRAP: Mutex<Option<Trap>> = Mutex::new(None);
/// The page of the last trap: a CPU that enters the guest later than others may still have it read-only.
static LAST: Mutex<Option<u64>> = Mutex::new(None);

/// Takes the next request in slot `index` of `vm` at once. False if that has no page.
pub fn set(vm: &'static Vm, index: usize) -> bool {
    let page = vm.request_page.load(Ordering::Acquire);
    if vm.slot(index).is_none() || !memory::protect(page, true) {
        return false;
    }
    *TRAP.lock() = Some(Trap { vm, index, page });
    *LAST.lock() = Some(page);
    true
}

/// No request is taken at once any more.
pub fn clear() {
    if let Some(trap) = TRAP.lock().take() {
        memory::protect(trap.page, false);
    }
}

/// A CPU of the Service VM writes to `page`. Returns whether that is the page of a trap: then it executes the one
/// instruction.
pub fn begin_step(cx: &mut Context, page: u64) -> bool {
    let trap = TRAP.lock();
    if trap.as_ref().is_some_and(|trap| trap.page == page) {
        memory::protect(page, false);
        cx.vmcb.control.intercept_exceptions |= 1 << DB;
        cx.vmcb.save.rflags |= RFLAGS_TF;
        return true;
    }
    *LAST.lock() == Some(page)
}

/// It has executed it.
pub fn end_step(cx: &mut Context) {
    cx.vmcb.control.intercept_exceptions &= !(1 << DB);
    cx.vmcb.save.rflags &= !RFLAGS_TF;
    cx.vmcb.save.dr6 &= !DR6_BS;
    let mut trap = TRAP.lock();
    let Some(Trap { vm, index, page }) = *trap else { return };
    let Some(slot) = vm.slot(index).filter(|slot| slot.state() == ACRN_IOREQ_STATE_COMPLETE) else {
        memory::protect(page, true);
        return;
    };
    // It is free for a request that is completed in the other way.
    ioreq::consume(vm, index, &slot);
    slot.toggle_polling();
    vm.raised.fetch_and(!(1 << index), Ordering::AcqRel);
    *trap = None;
}

/// The slot that `word` names: vmid in the low 16 bits, vCPU above.
pub fn set_by_word(word: u64) -> bool {
    vm::get(word & 0xFFFF).is_ok_and(|vm| set(vm, (word >> 16) as usize))
}
