// SPDX-License-Identifier: GPL-2.0

//! CPUs that can be taken offline.
//!
//! C header: [`include/linux/cpu.h`](srctree/include/linux/cpu.h)

use super::bindings as own;
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// The number of a CPU that can be taken offline and brought back.
///
/// # Invariants
///
/// Less than the number of possible CPUs.
#[derive(Clone, Copy)]
pub(crate) struct HotplugCpu(u32);

impl HotplugCpu {
    /// The CPU with that number, unless there is none, or it has to stay: as the first one, which
    /// boots.
    pub(crate) fn new(number: u64) -> Option<Self> {
        let number = u32::try_from(number).ok().filter(|number| *number != 0)?;
        // SAFETY: No precondition.
        if number >= unsafe { own::hsm_num_possible_cpus() } {
            return None;
        }
        // INVARIANT: Checked above.
        // SAFETY: No precondition: numbers of no CPU are not hot-pluggable.
        unsafe { bindings::cpu_is_hotpluggable(number) }.then_some(Self(number))
    }

    /// Takes it offline, unless it is, and runs `action` before it can come back. Sleeps.
    ///
    /// Fails with `EBUSY` if another task brings it back at once.
    pub(crate) fn while_offline(self, action: impl FnOnce(&OfflineCpu) -> Result) -> Result {
        if self.is_online() {
            // SAFETY: No precondition.
            to_result(unsafe { bindings::remove_cpu(self.0) })?;
        }
        // SAFETY: Balanced below.
        unsafe { bindings::cpu_hotplug_disable() };
        let result = if self.is_online() {
            Err(EBUSY)
        } else {
            // INVARIANT: It is offline, and hotplug is disabled until `action` has returned.
            action(&OfflineCpu(self))
        };
        // SAFETY: Balances the call above.
        unsafe { bindings::cpu_hotplug_enable() };
        result
    }

    fn is_online(self) -> bool {
        // SAFETY: A possible CPU, by the type invariant.
        unsafe { own::hsm_cpu_online(self.0) }
    }

    /// Brings it back. Sleeps.
    pub(crate) fn bring_online(self) -> Result {
        // SAFETY: No precondition.
        to_result(unsafe { bindings::add_cpu(self.0) })
    }
}

/// A CPU on which Linux runs nothing, for as long as this is borrowed.
///
/// # Invariants
///
/// The CPU is offline and cannot come back.
pub(crate) struct OfflineCpu(HotplugCpu);

impl OfflineCpu {
    /// The id of its local APIC.
    pub(crate) fn lapic_id(&self) -> u32 {
        // SAFETY: A possible CPU, by the invariant of `HotplugCpu`.
        unsafe { own::hsm_cpu_lapic_id(self.0 .0) }
    }
}

impl kernel::fmt::Display for HotplugCpu {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        kernel::fmt::Display::fmt(&self.0, f)
    }
}
