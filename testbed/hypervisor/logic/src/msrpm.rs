// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! MSR permission maps (AMD APM vol. 2, 15.11). An MSR has two bits, for reads and for writes. A
//! set bit intercepts.

/// EFER.
pub const EFER: u32 = 0xC000_0080;
/// Page attribute table.
pub const PAT: u32 = 0x277;
/// Time stamp counter.
pub const TSC: u32 = 0x10;
/// LAPIC base.
pub const APIC_BASE: u32 = 0x1B;
/// Control register of SVM.
pub const VM_CR: u32 = 0xC001_0114;
/// Host save area.
pub const VM_HSAVE_PA: u32 = 0xC001_0117;

/// MSRs that a User VM accesses directly: SYSENTER, system calls, segment bases, TSC_AUX. VMLOAD
/// switches them, or the CPU does not use their old values.
const DIRECT: [u32; 11] = [
    0x174,
    0x175,
    0x176,
    0xC000_0081,
    0xC000_0082,
    0xC000_0083,
    0xC000_0084,
    0xC000_0100,
    0xC000_0101,
    0xC000_0102,
    0xC000_0103,
];

/// A permission map, page-aligned as the hardware requires.
#[repr(C, align(4096))]
pub struct Map(pub [u8; 8192]);

/// Returns the number of the read bit of `msr`.
const fn position(msr: u32) -> usize {
    let (base, first) = match msr >> 13 {
        0 => (0, 0),
        n if n == 0xC000_0000 >> 13 => (0x800, 0xC000_0000),
        _ => (0x1000, 0xC001_0000),
    };
    base * 8 + (msr - first) as usize * 2
}

impl Map {
    const fn set(mut self, msr: u32, bits: u8) -> Self {
        let at = position(msr);
        self.0[at / 8] = (self.0[at / 8] & !(3 << (at % 8))) | bits << (at % 8);
        self
    }

    /// Returns the map of the Service VM. It intercepts the MSRs that show SVM, and reads of the
    /// APIC base, which show the boot CPU.
    pub const fn service() -> Self {
        Self([0; 8192]).set(EFER, 3).set(PAT, 3).set(VM_CR, 3).set(VM_HSAVE_PA, 3).set(APIC_BASE, 1)
    }

    /// Returns the map of User VMs. It intercepts all MSRs but those of `DIRECT` and reads of the
    /// TSC.
    pub const fn user() -> Self {
        let mut map = Self([0xFF; 8192]).set(TSC, 2);
        let mut i = 0;
        while i < DIRECT.len() {
            map = map.set(DIRECT[i], 0);
            i += 1;
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        assert_eq!(position(0x10), 0x20);
        assert_eq!(position(EFER), 0x800 * 8 + 0x100);
        assert_eq!(position(VM_CR), 0x1000 * 8 + 0x228);
        let user = Map::user();
        assert_eq!(user.0[0x10 / 4], 0xFE);
        assert_eq!(user.0[0x800 + 0x100 / 4], 0);
        assert_eq!(Map::service().0[0x800 + 0x80 / 4], 3);
    }
}
