// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Frequencies of the TSC and of the local APIC timer, measured against the ACPI PM timer.

use crate::lapic;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};
use x86_64::instructions::port::PortReadOnly;

const PM_TIMER_HZ: u64 = 3_579_545;
/// The PM timer has 24 bits.
const PM_TIMER_MASK: u32 = 0xFF_FFFF;
/// 50 ms, in ticks of the PM timer.
const SPAN: u32 = (PM_TIMER_HZ / 20) as u32;

static TSC_KHZ: AtomicU32 = AtomicU32::new(0);
static LAPIC_KHZ: AtomicU32 = AtomicU32::new(0);

/// Returns the TSC.
pub fn now() -> u64 {
    // SAFETY: Every CPU that mini-ACRN supports has a TSC.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Returns the frequency of the TSC in kHz.
pub fn tsc_khz() -> u32 {
    TSC_KHZ.load(Ordering::Relaxed)
}

/// Converts `tsc` ticks of the TSC to ticks of the local APIC timer with divider 1, at least 1.
pub fn lapic_ticks(tsc: u64) -> u32 {
    let ticks = u128::from(tsc) * u128::from(LAPIC_KHZ.load(Ordering::Relaxed))
        / u128::from(tsc_khz().max(1));
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// The values of all clocks at one moment.
struct Sample {
    tsc: u64,
    lapic: u32,
    pm: u32,
}

/// Samples the clocks. Of several samples it returns the one that took the shortest time, to
/// exclude delays of a busy machine.
fn sample(port: &mut PortReadOnly<u32>) -> Sample {
    let try_once = |_| {
        let before = now();
        // SAFETY: This is the port of the PM timer. A read has no side effect.
        let pm = unsafe { port.read() } & PM_TIMER_MASK;
        let lapic = lapic::timer_count();
        let after = now();
        (after - before, Sample { tsc: before + (after - before) / 2, lapic, pm })
    };
    (0..16).map(try_once).min_by_key(|s| s.0).map_or(Sample { tsc: 0, lapic: 0, pm: 0 }, |s| s.1)
}

/// Measures the frequencies. Called once at boot.
pub fn calibrate(pm_timer: u16) {
    let mut port = PortReadOnly::new(pm_timer);
    lapic::start_timer(u32::MAX);
    let from = sample(&mut port);
    // SAFETY: As in `sample`.
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

/// Waits for `us` microseconds.
pub fn delay_us(us: u64) {
    let end = now() + us * u64::from(tsc_khz()) / 1000;
    while now() < end {
        spin_loop();
    }
}
