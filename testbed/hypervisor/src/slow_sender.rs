// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! CPUs of the Service VM that are slow after they have sent an IPI.
//!
//! A task that an IPI wakes on another CPU can then overtake its waker at any instruction. The
//! page of the LAPIC is read-only for the Service VM, and mini-ACRN carries out the writes. After a
//! write that sends an IPI, it single-steps the CPU for some instructions, and waits after each.

use crate::service::memory;
use crate::svm::Context;
use crate::{cpu, lapic, time};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use mini_acrn_logic::errno::{Errno, Result};

/// Number of slow instructions after an IPI: enough to return from the function that wakes a task.
const STEPS: u32 = 400;
const RFLAGS_IF: u64 = 1 << 9;

/// The length of an instruction in microseconds. CPUs are not slow if it is 0.
static STEP_US: AtomicU64 = AtomicU64::new(0);
/// Number of slow instructions that each CPU has left.
static LEFT: [AtomicU32; cpu::MAX] = [const { AtomicU32::new(0) }; cpu::MAX];

/// Sets the length of an instruction. Fails if no page is left for the nested page tables.
pub fn set(microseconds: u64) -> Result {
    let (was_slow, is_slow) = (STEP_US.load(Ordering::Relaxed) != 0, microseconds != 0);
    if was_slow != is_slow && !memory::protect(lapic::BASE, is_slow) {
        return Err(Errno::GENERIC);
    }
    STEP_US.store(microseconds, Ordering::Relaxed);
    Ok(())
}

/// Carries out a write of CPU `id` of the Service VM to the register at `offset` of its LAPIC.
///
/// A CPU that enters the guest later than others may still have the page read-only when its writes
/// are not to be noticed any more.
pub fn write(cx: &mut Context, id: usize, offset: u64, value: u32) {
    lapic::write(offset, value);
    if offset == lapic::ICR {
        LEFT[id].store(STEPS, Ordering::Relaxed);
        step(cx, id);
    }
}

/// Lets CPU `id` wait, and execute one more slow instruction if it has any left.
///
/// A CPU that enables interrupts is not slow any more, as an interrupt handler would return to the
/// single step.
pub fn step(cx: &mut Context, id: usize) {
    let microseconds = STEP_US.load(Ordering::Relaxed);
    let left = LEFT[id].load(Ordering::Relaxed);
    if left == 0 || microseconds == 0 || cx.vmcb.save.rflags & RFLAGS_IF != 0 {
        LEFT[id].store(0, Ordering::Relaxed);
        return;
    }
    LEFT[id].store(left - 1, Ordering::Relaxed);
    time::delay_us(microseconds);
    cx.begin_step();
}
