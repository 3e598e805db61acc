// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The local APIC of the current CPU, in xAPIC mode (AMD APM vol. 2, chapter 16).

use core::hint::spin_loop;

/// Physical address of the registers.
pub const BASE: u64 = 0xFEE0_0000;
/// ID register.
const ID: u64 = 0x20;
/// Task priority.
const TPR: u64 = 0x80;
/// End of interrupt.
pub const EOI: u64 = 0xB0;
/// Spurious vector and software enable.
const SVR: u64 = 0xF0;
/// First of eight in-service registers.
const ISR: u64 = 0x100;
/// First of eight request registers.
const IRR: u64 = 0x200;
/// Interrupt command, low half.
pub const ICR: u64 = 0x300;
/// Interrupt command, high half.
const ICR_HIGH: u64 = 0x310;
/// Timer entry of the local vector table. LINT0, LINT1 and error follow at offsets 0x30 to 0x50.
const LVT_TIMER: u64 = 0x320;
/// Initial count of the timer.
const TIMER_COUNT: u64 = 0x380;
/// Current count of the timer.
const TIMER_CURRENT: u64 = 0x390;
/// Divider of the timer.
const TIMER_DIVIDE: u64 = 0x3E0;
/// Divide by one.
const DIVIDE_BY_1: u32 = 0xB;
const LVT_MASKED: u32 = 1 << 16;
const ICR_ASSERT: u32 = 1 << 14;

/// Reads the register at `offset`.
pub fn read(offset: u64) -> u32 {
    debug_assert!(offset < 4096);
    // SAFETY: The local APIC of every CPU is mapped here one to one. Reads have no side effect on
    // memory.
    unsafe { ((BASE + offset) as *const u32).read_volatile() }
}

/// Writes the register at `offset`.
pub fn write(offset: u64, value: u32) {
    debug_assert!(offset < 4096);
    // SAFETY: As for `read`. A write can at most raise an interrupt, and mini-ACRN handles every
    // interrupt that it can receive.
    unsafe { ((BASE + offset) as *mut u32).write_volatile(value) }
}

/// Makes the CPU check again for pending interrupts. Must be called after each #VMEXIT.
///
/// At a #VMEXIT, QEMU (7.2 at least) changes the CPU's request flags without a lock, and loses a
/// flag that another thread sets at that moment. The interrupt is then in IRR, but is never
/// delivered.
pub fn reevaluate_interrupts() {
    write(TPR, read(TPR));
}

/// Returns the LAPIC id of the current CPU.
pub fn id() -> u8 {
    (read(ID) >> 24) as u8
}

/// Starts the timer with `count` and the divider 1. A count of 0 stops it.
pub fn start_timer(count: u32) {
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(TIMER_COUNT, count);
}

/// Returns the current count of the timer.
pub fn timer_count() -> u32 {
    read(TIMER_CURRENT)
}

fn command(dest: u8, low: u32) {
    // Preserve a command that the Service VM has half written.
    let high = read(ICR_HIGH);
    write(ICR_HIGH, u32::from(dest) << 24);
    write(ICR, low);
    while read(ICR) & (1 << 12) != 0 {
        spin_loop();
    }
    write(ICR_HIGH, high);
}

/// Sends the fixed interrupt `vector` to the CPU with the LAPIC id `dest`.
pub fn send(dest: u8, vector: u8) {
    command(dest, ICR_ASSERT | u32::from(vector));
}

/// Sends an NMI to the CPU with the LAPIC id `dest`.
pub fn send_nmi(dest: u8) {
    command(dest, ICR_ASSERT | 4 << 8);
}

/// Sends INIT to the CPU with the LAPIC id `dest`.
pub fn send_init(dest: u8) {
    command(dest, ICR_ASSERT | 5 << 8);
}

/// Sends a SIPI to the CPU with the LAPIC id `dest`, to start at `page`.
pub fn send_sipi(dest: u8, page: u8) {
    command(dest, ICR_ASSERT | 6 << 8 | u32::from(page));
}

// SAFETY: `interrupt.s` defines the function with this signature.
unsafe extern "C" {
    fn drain_interrupts();
}

fn any(first: u64) -> bool {
    (0..8).any(|i| read(first + i * 0x10) != 0)
}

/// Returns the interrupt that is being serviced, which is the highest one in service.
pub fn in_service() -> Option<u8> {
    (0..8u8).rev().find_map(|i| {
        let bits = read(ISR + u64::from(i) * 0x10);
        (bits != 0).then(|| i * 32 + 31 - bits.leading_zeros() as u8)
    })
}

/// Brings the local APIC to the state after INIT: no interrupt in service or pending, all sources
/// masked.
pub fn quiesce() {
    for entry in [LVT_TIMER, 0x330, 0x340, 0x350, 0x360, 0x370] {
        write(entry, LVT_MASKED);
    }
    write(TIMER_COUNT, 0);
    write(SVR, 0x1FF);
    write(TPR, 0);
    // At most 240 vectors are in service and as many pending. If more rounds are needed, a source
    // keeps raising interrupts.
    for _ in 0..512 {
        while any(ISR) {
            write(EOI, 0);
        }
        if !any(IRR) {
            break;
        }
        // SAFETY: `interrupt_entry` takes the interrupts of this window. It acknowledges them and
        // changes nothing else.
        unsafe { drain_interrupts() };
    }
    write(SVR, 0xFF);
}
