// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Registers of a vCPU's local APIC that are not the real ones.

/// Mask bit of an entry of the local vector table.
pub const MASKED: u32 = 1 << 16;

/// Registers that the guest writes and reads back, and that do nothing.
#[derive(Clone, Copy)]
pub struct Shadow {
    /// Interrupt command, high half.
    pub icr_high: u32,
    /// Interrupt command, low half.
    pub icr: u32,
    /// Thermal, performance counter, LINT0, LINT1, error.
    pub lvt: [u32; 5],
    /// Timer entry as the guest wrote it, if that is in TSC-deadline mode.
    pub deadline_lvt: Option<u32>,
    /// TSC_DEADLINE.
    pub deadline: u64,
}

impl Shadow {
    /// As after reset.
    pub const RESET: Self =
        Self { icr_high: 0, icr: 0, lvt: [MASKED; 5], deadline_lvt: None, deadline: 0 };

    /// The entry of the local vector table at `offset`.
    pub fn lvt(&mut self, offset: u64) -> Option<&mut u32> {
        self.lvt.get_mut((offset.checked_sub(0x330)? / 0x10) as usize)
    }
}
