// SPDX-License-Identifier: GPL-2.0

//! CPUs that can be taken offline.
//!
//! [`CpuId`] names a CPU; the kernel crate has nothing to take one offline.
//!
//! C header: [`include/linux/cpu.h`](srctree/include/linux/cpu.h)

use super::bindings as own;
use kernel::{
    bindings,
    cpu::CpuId,
    error::to_result,
    fmt,
    prelude::*, //
};

/// A CPU that can be taken offline and brought back online.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::cpu_hotplug::HotplugCpu;
///
/// let cpu = HotplugCpu::new(1).ok_or(EINVAL)?;
/// cpu.while_offline(|offline| {
///     pr_info!("CPU {} with LAPIC {} is offline\n", cpu, offline.lapic_id());
///     Ok(())
/// })?;
/// cpu.bring_online()?;
/// ```
#[derive(Clone, Copy)]
pub(crate) struct HotplugCpu(CpuId);

impl HotplugCpu {
    /// Returns the CPU with the number `number`.
    ///
    /// Returns `None` if there is no such CPU or it must stay online, as the boot CPU must.
    pub(crate) fn new(number: u64) -> Option<Self> {
        let number = u32::try_from(number).ok().filter(|number| *number != 0)?;
        let cpu = CpuId::from_u32(number)?;
        // SAFETY: No precondition: CPUs that are not present are not hot-pluggable.
        unsafe { bindings::cpu_is_hotpluggable(number) }.then_some(Self(cpu))
    }

    /// Takes the CPU offline unless it is offline, and runs `action` while it cannot come back.
    ///
    /// Fails with `EBUSY` if another task brings it back at once, or as `remove_cpu()` of the
    /// kernel does. Sleeps.
    pub(crate) fn while_offline(self, action: impl FnOnce(&OfflineCpu) -> Result) -> Result {
        if self.is_online() {
            // SAFETY: No precondition.
            to_result(unsafe { bindings::remove_cpu(self.0.as_u32()) })?;
        }
        // `cpu_hotplug_disable()` would not do: a write to `smt/control` starts CPUs all the same.
        // SAFETY: No precondition. Balanced below.
        unsafe { bindings::cpus_read_lock() };
        let result = if self.is_online() {
            Err(EBUSY)
        } else {
            // INVARIANT: It is offline, and CPUs go online with this lock held for writing only.
            action(&OfflineCpu(self))
        };
        // SAFETY: Balances the call above.
        unsafe { bindings::cpus_read_unlock() };
        result
    }

    fn is_online(self) -> bool {
        // SAFETY: Less than `nr_cpu_ids`, by the invariant of `CpuId`.
        unsafe { own::hsm_cpu_online(self.0.as_u32()) }
    }

    /// Brings the CPU back online. Sleeps.
    pub(crate) fn bring_online(self) -> Result {
        // SAFETY: No precondition.
        to_result(unsafe { bindings::add_cpu(self.0.as_u32()) })
    }
}

impl fmt::Display for HotplugCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_u32(), f)
    }
}

/// A CPU on which Linux runs nothing, for as long as this is borrowed.
///
/// # Invariants
///
/// The CPU is offline and cannot come back.
pub(crate) struct OfflineCpu(HotplugCpu);

impl OfflineCpu {
    /// Returns the id of the CPU's local APIC.
    pub(crate) fn lapic_id(&self) -> u32 {
        // SAFETY: Less than `nr_cpu_ids`, by the invariant of `CpuId`.
        unsafe { own::hsm_cpu_lapic_id(self.0 .0.as_u32()) }
    }
}
