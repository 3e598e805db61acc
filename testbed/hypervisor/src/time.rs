// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Frequencies of the TSC and of the local APIC's timer, measured against the ACPI PM timer.

use crate::lapic;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};
use x86_64::instructions::port::PortReadOnly;

const PM_TIMER_HZ: u64 = 3_579_545;
/// The timer counts in 24 bits.
const PM_TIMER_MASK: u32 = 0xFF_FFFF;
/// 50 ms.
const SPAN: u32 = (PM_TIMER_HZ / 20) as u32;

static TSC_KHZ: AtomicU32 = AtomicU32::new(0);
static LAPIC_KHZ: AtomicU32 = AtomicU32::new(0);

/// The TSC.
pub fn now() -> u64 {
    // SAFETY: every CPU that mini-ACRN runs on has a TSC.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Frequency of the TSC in kHz.
pub fn tsc_khz() -> u32 {
    TSC_KHZ.load(Ordering::Relaxed)
}

/// Ticks of the local APIC's timer, undivided, in `tsc` ticks of the TSC; at least 1.
pub fn lapic_ticks(tsc: u64) -> u32 {
    let ticks = u128::from(tsc) * u128::from(LAPIC_KHZ.load(Ordering::Relaxed))
        / u128::from(tsc_khz().max(1));
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// All clocks at one moment.
struct Sample {
    tsc: u64,
    lapic: u32,
    pm: u32,
}

/// The clocks with the least time between two TSC reads out of a few tries, so that a busy machine under QEMU
/// does not spoil it.
fn sample(port: &mut PortReadOnly<u32>) -> Sample {
    let try_once = |_| {
        let before = now();
        // SAFETY: the PM timer's port; reading has no side effect.
        let pm = unsafe { port.read() } & PM_TIMER_MASK;
        let lapic = lapic::timer_count();
        let after = now();
        (after - before, Sample { tsc: before + (after - before) / 2, lapic, pm })
    };
    (0..16).map(try_once).min_by_key(|s| s.0).map_or(Sample { tsc: 0, lapic: 0, pm: 0 }, |s| s.1)
}

/// Measures. Called once at boot.
pub fn calibrate(pm_timer: u16) {
    let mut port = PortReadOnly::new(pm_timer);
    lapic::start_timer(u32::MAX);
    let from = sample(&mut port);
    // SAFETY: as in `sample`.
    while unsafe { port.read() }.wrapping_sub(from.pm) & PM_TIMER_MASK < SPAN {
        spin_loop();
    }
    let to = sample(&mut port);
    lapic::start_timer(0);
    let ticks = u128::from((to.pm.wrapping_sub(from.pm) & PM_TIMER_MASK).max(1));
    let khz = |count: u64| (u128::from(count) * u128::from(PM_TIMER_HZ) / ticks / 1000) as u32;
    TSC_KHZ.store(khz(to.tsc - from.tsc), Ordering::Relaxed);
    LAPIC_KHZ.store(khz(from.lapic.wrapping_sub(to.lapic).into()), Ordering::Relaxed);
}

/// Waits that long.
pub fn delay_us(us: u64) {
    let end = now() + us * u64::from(tsc_khz()) / 1000;
    while now() < end {
        spin_loop();
    }
}
