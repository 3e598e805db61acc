// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Walks the page tables of a guest (AMD APM vol. 2, chapter 5).
//!
//! The walk checks only whether entries are present. The CPU has checked the access rights before
//! the exit.

use crate::vmcb::{CR0_PG, CR4_PAE, CR4_PSE, EFER_LMA, Save};

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const CR4_LA57: u64 = 1 << 12;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// Reads guest-physical memory.
pub trait GuestRead {
    /// Returns the `size` (4 or 8) bytes at `gpa`, which must not cross a page.
    fn read(&self, gpa: u64, size: usize) -> Option<u64>;
}

/// The address is not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotMapped;

/// Returns the guest-physical address of `linear`.
pub fn translate(save: &Save, mem: &impl GuestRead, linear: u64) -> Result<u64, NotMapped> {
    if save.cr0 & CR0_PG == 0 {
        return Ok(linear & 0xFFFF_FFFF);
    }
    if save.cr4 & CR4_PAE == 0 {
        return legacy(save, mem, linear as u32);
    }
    if save.efer & EFER_LMA != 0 {
        let levels = if save.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
        return tree(mem, save.cr3 & ADDRESS, linear, levels);
    }
    // PAE: four pointers at a 32-byte boundary, then two levels.
    let linear = linear & 0xFFFF_FFFF;
    let pointer = (save.cr3 & 0xFFFF_FFE0) + (linear >> 30) * 8;
    let entry = mem.read(pointer, 8).filter(|e| e & PRESENT != 0).ok_or(NotMapped)?;
    tree(mem, entry & ADDRESS, linear, 2)
}

fn tree(mem: &impl GuestRead, root: u64, linear: u64, levels: u32) -> Result<u64, NotMapped> {
    let mut table = root;
    for level in (1..=levels).rev() {
        let shift = 12 + 9 * (level - 1);
        let slot = table + ((linear >> shift) & 511) * 8;
        let entry = mem.read(slot, 8).filter(|e| e & PRESENT != 0).ok_or(NotMapped)?;
        if level == 1 || (level <= 3 && entry & LARGE != 0) {
            let offset = (1 << shift) - 1;
            return Ok((entry & ADDRESS & !offset) | (linear & offset));
        }
        table = entry & ADDRESS;
    }
    Err(NotMapped)
}

fn legacy(save: &Save, mem: &impl GuestRead, linear: u32) -> Result<u64, NotMapped> {
    let get = |at: u64| mem.read(at, 4).filter(|e| e & PRESENT != 0).ok_or(NotMapped);
    let (linear, top) = (u64::from(linear), save.cr3 & 0xFFFF_F000);
    let entry = get(top + (linear >> 22) * 4)?;
    if entry & LARGE != 0 && save.cr4 & CR4_PSE != 0 {
        // Bits 13 to 20 are address bits 32 to 39.
        let high = (entry >> 13 & 0xFF) << 32;
        return Ok(high | (entry & 0xFFC0_0000) | (linear & 0x3F_FFFF));
    }
    let entry = get((entry & 0xFFFF_F000) + (linear >> 12 & 0x3FF) * 4)?;
    Ok((entry & 0xFFFF_F000) | (linear & 0xFFF))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmcb::{CR0_PE, EFER_LME, Vmcb};
    use std::collections::HashMap;
    use zerocopy::FromZeros;

    struct Mem(HashMap<u64, u64>);
    impl GuestRead for Mem {
        fn read(&self, gpa: u64, size: usize) -> Option<u64> {
            self.0.get(&gpa).map(|v| v & crate::regs::mask(size))
        }
    }

    fn save(cr0: u64, cr4: u64, efer: u64) -> Save {
        let mut s = Vmcb::new_zeroed().save;
        (s.cr0, s.cr3, s.cr4, s.efer) = (cr0, 0x1000, cr4, efer);
        s
    }

    #[test]
    fn no_paging() {
        assert_eq!(
            translate(&save(CR0_PE, 0, 0), &Mem(HashMap::new()), 0x1_2345_6789),
            Ok(0x2345_6789)
        );
    }

    #[test]
    fn long_mode_all_sizes() {
        let s = save(CR0_PG | CR0_PE, CR4_PAE, EFER_LMA | EFER_LME);
        let m = Mem(HashMap::from([
            (0x1000 + 511 * 8, 0x2003),
            (0x2000, 0x8000_0083),
            (0x2008, 0x3003),
            (0x3000, 0x20_0083),
            (0x3008, 0x4003),
            (0x4008, 0x8000_0000_0000_9003),
        ]));
        let top = 0xFFFF_FF80_0000_0000;
        assert_eq!(translate(&s, &m, top + 0x1234_5678), Ok(0x9234_5678));
        assert_eq!(translate(&s, &m, top + 0x4000_1234), Ok(0x20_1234));
        assert_eq!(translate(&s, &m, top + 0x4020_1234), Ok(0x9234));
        assert_eq!(translate(&s, &m, top + 0x4020_2234), Err(NotMapped));
    }

    #[test]
    fn legacy_and_pae() {
        let m = Mem(HashMap::from([(0x1004, 0x2003), (0x2008, 0x7003), (0x1008, 0x40_0083)]));
        let s = save(CR0_PG | CR0_PE, CR4_PSE, 0);
        assert_eq!(translate(&s, &m, 0x40_2ABC), Ok(0x7ABC));
        assert_eq!(translate(&s, &m, 0x80_1234), Ok(0x40_1234));
        let m = Mem(HashMap::from([(0x1018, 0x2001), (0x2008, 0x3003), (0x3000, 0x5003)]));
        let s = save(CR0_PG | CR0_PE, CR4_PAE, 0);
        assert_eq!(translate(&s, &m, 0xC020_0777), Ok(0x5777));
    }
}
