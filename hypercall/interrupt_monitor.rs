// SPDX-License-Identifier: GPL-2.0

//! VM_INTR_MONITOR: counts of the interrupts of passed-through devices.

use super::{
    vmcall,
    VmId, //
};
use crate::abstractions::contiguous::Contiguous;
use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

const VM_INTR_MONITOR: u64 = 0x8000_0024;

/// The command that reads counts.
const GET: u32 = 0;

/// Entries of the buffer. The hypervisor refuses larger numbers.
const ENTRIES: u32 = 48;

/// A command and a number of entries of 4 bytes each, then the buffer.
pub(crate) type InterruptCounts = [u64; 1 + ENTRIES as usize];

/// The parameter of VM_INTR_MONITOR, aligned so that it does not cross a page.
#[repr(C, align(512))]
pub(crate) struct InterruptMonitor(InterruptCounts);

// SAFETY: Numbers, and padding.
unsafe impl FromBytes for InterruptMonitor {}

impl InterruptMonitor {
    /// Returns the bytes that user space gets.
    pub(crate) fn counts(&self) -> &InterruptCounts {
        &self.0
    }

    /// Offers the whole buffer for counts if user space offers fewer than two entries.
    ///
    /// ACRN stops when fewer than two entries are left (`ptirq_get_intr_data`). It calculates that
    /// with unsigned numbers and after the first pair, so it would not stop at all.
    fn offer_room(&mut self) {
        let [head, ..] = &mut self.0;
        if *head as u32 == GET && *head >> 32 < 2 {
            *head = u64::from(ENTRIES) << 32 | u64::from(GET);
        }
    }
}

/// Reads interrupt counts of a VM's passed-through devices, or delays their interrupts.
///
/// Fails with `EINVAL` if the buffer is said to have more than 48 entries.
pub(crate) fn vm_intr_monitor(vm: VmId, monitor: &mut Contiguous<InterruptMonitor>) -> Result {
    monitor.offer_room();
    // SAFETY: The hypervisor only accesses `*monitor`, which is borrowed mutably: it writes counts
    // to as many entries as it is offered, which are at least 2 now, and it refuses more than the
    // buffer has. Nothing else changes the parameter meanwhile, as user space has a copy.
    unsafe { vmcall(VM_INTR_MONITOR, vm.into(), monitor.phys_mut()) }
}
