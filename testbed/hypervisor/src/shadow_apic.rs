// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The registers of a vCPU's local APIC that mini-ACRN shadows.

/// Mask bit of an entry of the local vector table.
pub const MASKED: u32 = 1 << 16;

/// Registers that the guest writes and reads back, without an effect on the hardware.
#[derive(Clone, Copy)]
pub struct Shadow {
    /// Interrupt command register, high half.
    pub icr_high: u32,
    /// Interrupt command register, low half.
    pub icr: u32,
    /// Local vector table: thermal, performance counter, LINT0, LINT1, error.
    pub lvt: [u32; 5],
    /// Timer entry of the local vector table as the guest wrote it, if it selects TSC-deadline
    /// mode.
    pub deadline_lvt: Option<u32>,
    /// TSC_DEADLINE.
    pub deadline: u64,
}

impl Shadow {
    /// The registers after reset.
    pub const RESET: Self =
        Self { icr_high: 0, icr: 0, lvt: [MASKED; 5], deadline_lvt: None, deadline: 0 };

    /// Returns the entry of the local vector table at `offset`.
    pub fn lvt(&mut self, offset: u64) -> Option<&mut u32> {
        self.lvt.get_mut((offset.checked_sub(0x330)? / 0x10) as usize)
    }
}
