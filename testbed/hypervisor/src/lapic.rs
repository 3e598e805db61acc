// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The local APIC of the CPU that runs this, in xAPIC mode (AMD APM vol. 2, chapter 16).

use core::hint::spin_loop;

/// Physical address of its page.
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
const ICR: u64 = 0x300;
/// Interrupt command, high half.
const ICR_HIGH: u64 = 0x310;
/// Timer entry of the local vector table; LINT0, LINT1 and error follow 0x30 to 0x50 above.
const LVT_TIMER: u64 = 0x320;
/// Timer's initial count.
const TIMER_COUNT: u64 = 0x380;
/// Timer's current count.
const TIMER_CURRENT: u64 = 0x390;
/// Timer's divider.
const TIMER_DIVIDE: u64 = 0x3E0;
/// Divide by one.
const DIVIDE_BY_1: u32 = 0xB;
const LVT_MASKED: u32 = 1 << 16;
const ICR_ASSERT: u32 = 1 << 14;

/// Reads the register at `offset`.
pub fn read(offset: u64) -> u32 {
    debug_assert!(offset < 4096);
    // SAFETY: every CPU has its local APIC's page here, identity mapped; reads have no side effect on memory.
    unsafe { ((BASE + offset) as *const u32).read_volatile() }
}

/// Writes the register at `offset`.
pub fn write(offset: u64, value: u32) {
    debug_assert!(offset < 4096);
    // SAFETY: as for `read`; what a write starts is an interrupt at most, and those that reach mini-ACRN
    // are all handled.
    unsafe { ((BASE + offset) as *mut u32).write_volatile(value) }
}

/// Has the CPU look again for interrupts that are pending. To be called after each #VMEXIT: QEMU's (7.2 at least)
/// changes the CPU's request flags there without a lock, and loses what another thread sets at that moment. The
/// interrupt is in IRR then, but nobody delivers it.
pub fn reevaluate_interrupts() {
    write(TPR, read(TPR));
}

/// LAPIC id of this CPU.
pub fn id() -> u8 {
    (read(ID) >> 24) as u8
}

/// Has the timer count down from `count`, undivided; 0 stops it.
pub fn start_timer(count: u32) {
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(TIMER_COUNT, count);
}

/// What the timer has still to count.
pub fn timer_count() -> u32 {
    read(TIMER_CURRENT)
}

fn command(dest: u8, low: u32) {
    // The Service VM's own half-written command survives.
    let high = read(ICR_HIGH);
    write(ICR_HIGH, u32::from(dest) << 24);
    write(ICR, low);
    while read(ICR) & (1 << 12) != 0 {
        spin_loop();
    }
    write(ICR_HIGH, high);
}

/// Sends a fixed interrupt to the CPU `dest`.
pub fn send(dest: u8, vector: u8) {
    command(dest, ICR_ASSERT | u32::from(vector));
}

/// Sends an NMI to the CPU `dest`.
pub fn send_nmi(dest: u8) {
    command(dest, ICR_ASSERT | 4 << 8);
}

/// Sends INIT to the CPU `dest`.
pub fn send_init(dest: u8) {
    command(dest, ICR_ASSERT | 5 << 8);
}

/// Sends SIPI to the CPU `dest`, to start at page `page`.
pub fn send_sipi(dest: u8, page: u8) {
    command(dest, ICR_ASSERT | 6 << 8 | u32::from(page));
}

// SAFETY: defined in interrupt.s, with this signature.
unsafe extern "C" {
    fn drain_interrupts();
}

fn any(first: u64) -> bool {
    (0..8).any(|i| read(first + i * 0x10) != 0)
}

/// The interrupt that is being served: the highest in service.
pub fn in_service() -> Option<u8> {
    (0..8u8).rev().find_map(|i| {
        let bits = read(ISR + u64::from(i) * 0x10);
        (bits != 0).then(|| i * 32 + 31 - bits.leading_zeros() as u8)
    })
}

/// Brings the local APIC to where INIT leaves it: nothing in service or pending, all sources masked.
pub fn quiesce() {
    for entry in [LVT_TIMER, 0x330, 0x340, 0x350, 0x360, 0x370] {
        write(entry, LVT_MASKED);
    }
    write(TIMER_COUNT, 0);
    write(SVR, 0x1FF);
    write(TPR, 0);
    // 240 vectors can be in service and as many pending; more rounds than that mean something refills them.
    for _ in 0..512 {
        while any(ISR) {
            write(EOI, 0);
        }
        if !any(IRR) {
            break;
        }
        // SAFETY: opens a window in which interrupts are taken by `interrupt_entry`, which acknowledges them
        // and changes nothing else.
        unsafe { drain_interrupts() };
    }
    write(SVR, 0xFF);
}
