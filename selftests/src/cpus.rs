// SPDX-License-Identifier: GPL-2.0

//! Physical CPUs for User VMs.

use std::env;

use crate::probe::Probe;

/// Overrides what is taken for free CPUs: a mask in hexadecimal digits.
const VARIABLE: &str = "ACRN_SELFTEST_CPUS";
/// The CPUs that mini-ACRN keeps for User VMs.
const DEFAULT: u64 = 0b1111_1100;

/// CPUs for `count` vCPUs, as a mask; the error says why the test has to be skipped.
pub fn pick(count: usize) -> Result<u64, String> {
    pick_many(&[count]).map(|masks| masks[0])
}

/// CPUs for several VMs, none of them twice.
pub fn pick_many(counts: &[usize]) -> Result<Vec<u64>, String> {
    let mut free = free();
    let mut masks = Vec::new();
    for &count in counts {
        let mut mask = 0;
        for _ in 0..count {
            if free == 0 {
                return Err(format!(
                    "needs {} CPUs for User VMs",
                    counts.iter().sum::<usize>()
                ));
            }
            let lowest = free & free.wrapping_neg();
            mask |= lowest;
            free ^= lowest;
        }
        masks.push(mask);
    }
    Ok(masks)
}

fn free() -> u64 {
    if let Ok(mask) = env::var(VARIABLE) {
        return u64::from_str_radix(&mask, 16).expect(VARIABLE);
    }
    Probe::open().map_or(DEFAULT, |probe| probe.free_cpus())
}
