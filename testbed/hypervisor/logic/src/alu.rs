// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Arithmetic on a memory operand, with flags (AMD APM vol. 1, 3.1.4).

use crate::regs::mask;

const CF: u64 = 1 << 0;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
/// The flags that [`Alu::apply`] computes.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// An arithmetic or logic instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alu {
    /// ADD.
    Add,
    /// SUB.
    Sub,
    /// CMP: SUB that only sets flags.
    Cmp,
    /// AND.
    And,
    /// TEST: AND that only sets flags.
    Test,
    /// OR.
    Or,
    /// XOR.
    Xor,
}

impl Alu {
    /// Returns whether the instruction writes its destination.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Cmp | Self::Test)
    }

    /// Computes `a op b` on `size` bytes. Returns the result and the status flags.
    pub fn apply(self, a: u64, b: u64, size: usize) -> (u64, u64) {
        let (a, b, m) = (a & mask(size), b & mask(size), mask(size));
        let sign = m ^ (m >> 1);
        let (result, mut flags) = match self {
            Self::Add => {
                let r = a.wrapping_add(b) & m;
                (r, arithmetic(r < a, (a ^ r) & (b ^ r) & sign != 0, a ^ b ^ r))
            }
            Self::Sub | Self::Cmp => {
                let r = a.wrapping_sub(b) & m;
                (r, arithmetic(a < b, (a ^ b) & (a ^ r) & sign != 0, a ^ b ^ r))
            }
            Self::And | Self::Test => (a & b, 0),
            Self::Or => (a | b, 0),
            Self::Xor => (a ^ b, 0),
        };
        if result == 0 {
            flags |= ZF;
        }
        if result & sign != 0 {
            flags |= SF;
        }
        if (result as u8).count_ones().is_multiple_of(2) {
            flags |= PF;
        }
        (result, flags)
    }
}

fn arithmetic(carry: bool, overflow: bool, half: u64) -> u64 {
    (u64::from(carry) * CF) | (u64::from(overflow) * OF) | (half & AF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        assert_eq!(Alu::Add.apply(0xFF, 1, 1), (0, CF | ZF | PF | AF));
        assert_eq!(Alu::Add.apply(0x7F, 1, 1), (0x80, OF | SF | AF));
        assert_eq!(Alu::Sub.apply(0, 1, 4), (0xFFFF_FFFF, CF | SF | PF | AF));
        assert_eq!(Alu::Cmp.apply(5, 5, 8), (0, ZF | PF));
        assert_eq!(Alu::And.apply(0xF0F0, 0x8001, 2), (0x8000, SF | PF));
        assert_eq!(Alu::Xor.apply(3, 1, 8), (2, 0));
        assert!(!Alu::Test.writes() && Alu::Or.writes());
    }
}
