// SPDX-License-Identifier: GPL-2.0

//! Physical CPUs for User VMs.

use std::{env, fs};

use acrn_ioctls::PhysicalCpus;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::probe::Probe;

/// Environment variable that overrides the mask of free CPUs, in hexadecimal digits.
const VARIABLE: &str = "ACRN_SELFTEST_CPUS";

/// Returns a mask of CPUs for `count` vCPUs. The error says why the test must be skipped.
pub fn pick(count: usize) -> Result<u64, String> {
    pick_many(&[count]).map(|masks| masks[0])
}

/// Returns masks of CPUs for several VMs. No CPU is in two of them, except where ACRN shares CPUs
/// among VMs and there are too few.
pub fn pick_many(counts: &[usize]) -> Result<Vec<u64>, String> {
    let cpus = Cpus::new()?;
    let mut free = cpus.mask;
    let mut masks = Vec::new();
    for &count in counts {
        if cpus.are_shared && (free.count_ones() as usize) < count {
            free = cpus.mask;
        }
        let mask = lowest(free, count).ok_or_else(|| {
            let wanted = counts.iter().sum::<usize>();
            format!("needs {wanted} CPUs for User VMs")
        })?;
        free &= !mask;
        masks.push(mask);
    }
    Ok(masks)
}

/// Returns the lowest `count` CPUs of `mask`.
fn lowest(mask: u64, count: usize) -> Option<u64> {
    let cpus = (0..u64::BITS).filter(|cpu| mask & 1 << cpu != 0);
    let chosen = cpus.take(count).fold(0u64, |chosen, cpu| chosen | 1 << cpu);
    (chosen.count_ones() as usize == count).then_some(chosen)
}

/// The CPUs that User VMs may have.
struct Cpus {
    mask: u64,
    /// Several VMs may have the same CPU.
    are_shared: bool,
}

impl Cpus {
    fn new() -> Result<Self, String> {
        let probe = Probe::open();
        let mask = match (env::var(VARIABLE), &probe) {
            (Ok(mask), _) => u64::from_str_radix(&mask, 16).expect(VARIABLE),
            (Err(_), Ok(probe)) => probe.free_cpus(),
            (Err(_), Err(_)) => of_machine()?,
        };
        Ok(Self {
            mask,
            are_shared: probe.is_err(),
        })
    }
}

/// Returns the CPUs that the Service VM's kernel does not use, or all CPUs if there are none.
fn of_machine() -> Result<u64, String> {
    let machine = PhysicalCpus::of_machine().map_err(|error| {
        format!("{VARIABLE} is not set, and the machine's CPUs are unknown: {error}")
    })?;
    match machine.unused() {
        0 => Ok(machine.all()),
        unused => Ok(unused),
    }
}

/// Returns the MSI address of the vCPU on the lowest CPU of `cpus`.
pub fn msi(cpus: u64) -> Result<u64, String> {
    let id = apic_id(cpus.trailing_zeros() as usize)?;
    Ok(0xfee0_0000 | u64::from(id) << 12)
}

/// Returns the APIC id of physical CPU `cpu`.
pub fn apic_id(cpu: usize) -> Result<u8, String> {
    let machine = PhysicalCpus::of_machine().map_err(|error| error.to_string())?;
    machine
        .apic_id(cpu)
        .ok_or_else(|| format!("there is no CPU {cpu}"))
}

/// The CPU of the Service VM that receives the upcalls.
pub const UPCALLS: usize = 0;

/// Restricts this thread, and those that it starts, to one CPU of the Service VM. The error says
/// why the test must be skipped.
pub fn stay_on(cpu: usize) -> Result<(), String> {
    keep_on(0, &[cpu])
}

/// Restricts the thread `thread`, this one if it is 0, to some CPUs of the Service VM. The error
/// says why the test must be skipped.
pub fn keep_on(thread: i32, cpus: &[usize]) -> Result<(), String> {
    let mut set = CpuSet::new();
    let kept = cpus.iter().try_for_each(|cpu| set.set(*cpu));
    let kept = kept.and_then(|()| sched_setaffinity(Pid::from_raw(thread), &set));
    kept.map_err(|error| format!("CPUs {cpus:?}: {error}"))
}

/// Gives the calling thread priority over all others on its CPU (`SCHED_FIFO`).
pub fn come_first() {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: The system call only reads the structure.
    let status = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameter) };
    assert_eq!(status, 0, "sched_setscheduler");
}

/// Returns whether the kernel is PREEMPT_RT.
pub fn run_preempt_rt() -> bool {
    let version = fs::read_to_string("/proc/version").expect("/proc/version");
    version.contains("PREEMPT_RT")
}

#[cfg(test)]
mod tests {
    use super::lowest;

    #[test]
    fn lowest_cpus() {
        assert_eq!(lowest(0b1_0110, 2), Some(0b110));
        assert_eq!(lowest(0b1, 1), Some(1));
        assert_eq!(lowest(0b1_0110, 4), None);
    }
}
