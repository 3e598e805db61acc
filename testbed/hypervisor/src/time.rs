// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Frequency of the TSC, measured against the ACPI PM timer.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};
use x86_64::instructions::port::PortReadOnly;

const PM_TIMER_HZ: u64 = 3_579_545;
/// The timer counts in 24 bits.
const PM_TIMER_MASK: u32 = 0xFF_FFFF;
/// 50 ms.
const SPAN: u32 = (PM_TIMER_HZ / 20) as u32;

static TSC_KHZ: AtomicU32 = AtomicU32::new(0);

/// The TSC.
pub fn now() -> u64 {
    // SAFETY: every CPU that mini-ACRN runs on has a TSC.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Frequency of the TSC in kHz.
pub fn tsc_khz() -> u32 {
    TSC_KHZ.load(Ordering::Relaxed)
}

/// TSC and PM timer at the same moment: the pair with the least time between two TSC reads out of a few, so
/// that a busy machine under QEMU does not spoil it.
fn sample(port: &mut PortReadOnly<u32>) -> (u64, u32) {
    (0..16)
        .map(|_| {
            let before = now();
            // SAFETY: the PM timer's port; reading has no side effect.
            let pm = unsafe { port.read() } & PM_TIMER_MASK;
            let after = now();
            (after - before, before + (after - before) / 2, pm)
        })
        .min_by_key(|s| s.0)
        .map_or((0, 0), |s| (s.1, s.2))
}

/// Measures. Called once at boot.
pub fn calibrate(pm_timer: u16) {
    let mut port = PortReadOnly::new(pm_timer);
    let (tsc0, pm0) = sample(&mut port);
    // SAFETY: as in `sample`.
    while unsafe { port.read() }.wrapping_sub(pm0) & PM_TIMER_MASK < SPAN {
        spin_loop();
    }
    let (tsc1, pm1) = sample(&mut port);
    let ticks = u64::from(pm1.wrapping_sub(pm0) & PM_TIMER_MASK);
    let khz = u128::from(tsc1 - tsc0) * u128::from(PM_TIMER_HZ) / u128::from(ticks.max(1)) / 1000;
    TSC_KHZ.store(khz as u32, Ordering::Relaxed);
}

/// Waits that long.
pub fn delay_us(us: u64) {
    let end = now() + us * u64::from(tsc_khz()) / 1000;
    while now() < end {
        spin_loop();
    }
}
