// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! General-purpose registers of a vCPU, with the width rules of x86 (AMD APM vol. 1, 3.1.2.3).

/// The 16 general-purpose registers in the order of instruction encoding, which is also that of
/// `acrn_gp_regs`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Gprs(pub [u64; 16]);

/// Index of RAX.
pub const RAX: usize = 0;
/// Index of RCX.
pub const RCX: usize = 1;
/// Index of RDX.
pub const RDX: usize = 2;
/// Index of RBX.
pub const RBX: usize = 3;
/// Index of RSP.
pub const RSP: usize = 4;
/// Index of RSI.
pub const RSI: usize = 6;
/// Index of RDI.
pub const RDI: usize = 7;
/// Index of R8.
pub const R8: usize = 8;

/// Returns a mask of the low `size` bytes.
pub fn mask(size: usize) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 }
}

/// Sign-extends the low `size` bytes of `value` to 64 bits.
pub fn sign_extend(value: u64, size: usize) -> u64 {
    let unused = 64 - 8 * size.min(8) as u32;
    (((value << unused) as i64) >> unused) as u64
}

/// Returns the value of a register after a write of `size` bytes: 1 and 2 bytes merge, 4 bytes
/// clear the upper half.
pub fn merge(old: u64, value: u64, size: usize) -> u64 {
    match size {
        1 | 2 => (old & !mask(size)) | (value & mask(size)),
        _ => value & mask(size),
    }
}

/// A register operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reg {
    /// Index in [`Gprs`].
    pub index: usize,
    /// Width in bytes.
    pub size: usize,
    /// The register is AH, CH, DH or BH.
    pub high: bool,
}

impl Gprs {
    /// Returns the value of `reg`, zero-extended.
    pub fn get(&self, reg: Reg) -> u64 {
        let full = self.0[reg.index];
        (if reg.high { full >> 8 } else { full }) & mask(reg.size)
    }

    /// Writes `reg`.
    pub fn set(&mut self, reg: Reg, value: u64) {
        let slot = &mut self.0[reg.index];
        *slot = if reg.high {
            (*slot & !0xFF00) | ((value & 0xFF) << 8)
        } else {
            merge(*slot, value, reg.size)
        };
    }

    /// Adds `delta` to the low `size` bytes of a register, as string instructions do.
    pub fn advance(&mut self, index: usize, delta: i64, size: usize) {
        self.0[index] = merge(self.0[index], self.0[index].wrapping_add_signed(delta), size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_writes_merge_and_dword_writes_clear() {
        let mut r = Gprs([u64::MAX; 16]);
        r.set(Reg { index: RAX, size: 1, high: false }, 0);
        assert_eq!(r.0[RAX], 0xFFFF_FFFF_FFFF_FF00);
        r.set(Reg { index: RAX, size: 1, high: true }, 0x12);
        assert_eq!(r.0[RAX], 0xFFFF_FFFF_FFFF_1200);
        r.set(Reg { index: RAX, size: 2, high: false }, 0xABCD);
        assert_eq!(r.0[RAX], 0xFFFF_FFFF_FFFF_ABCD);
        r.set(Reg { index: RAX, size: 4, high: false }, 0xFFFF_FFFF_8000_0000);
        assert_eq!(r.0[RAX], 0x8000_0000);
        r.set(Reg { index: RAX, size: 8, high: false }, 7);
        assert_eq!(r.0[RAX], 7);
        assert_eq!(Gprs([0x1234; 16]).get(Reg { index: RCX, size: 1, high: true }), 0x12);
    }

    #[test]
    fn sign_extension() {
        assert_eq!(sign_extend(0x80, 1), 0xFFFF_FFFF_FFFF_FF80);
        assert_eq!(sign_extend(0x7F, 1), 0x7F);
        assert_eq!(sign_extend(0x8000_0000, 4), 0xFFFF_FFFF_8000_0000);
        assert_eq!(sign_extend(5, 8), 5);
    }

    #[test]
    fn counters_wrap_in_their_width() {
        let mut r = Gprs::default();
        r.0[RCX] = 0x1_0000_0000;
        r.advance(RCX, -1, 4);
        assert_eq!(r.0[RCX], 0xFFFF_FFFF);
        r.0[RDI] = 0xAAAA_FFFF;
        r.advance(RDI, 1, 2);
        assert_eq!(r.0[RDI], 0xAAAA_0000);
    }
}
