// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Decodes instructions that access a device, by iced-x86. The result is one read, one write, or a
//! read and then a write.

use crate::alu::{Alu, STATUS};
use crate::regs::{Gprs, RAX, Reg, mask, sign_extend};
use iced_x86::{
    Code, Decoder, DecoderOptions, Instruction, MemorySize, Mnemonic, OpKind, Register,
};

/// Maximum length of an instruction in bytes.
pub const MAX_LEN: usize = 15;

/// An operand that is not in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A register.
    Reg(Reg),
    /// A constant.
    Imm(u64),
}

impl Source {
    /// Returns the value.
    pub fn get(self, regs: &Gprs) -> u64 {
        match self {
            Self::Reg(r) => regs.get(r),
            Self::Imm(v) => v,
        }
    }
}

/// The operation on the memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Stores a value.
    Store(Source),
    /// Loads a register, sign-extended or zero-extended to its width.
    Load {
        /// The register.
        dst: Reg,
        /// The value is sign-extended.
        signed: bool,
    },
    /// Exchanges memory and a register.
    Exchange(Reg),
    /// `memory = memory op value`.
    ToMemory(Alu, Source),
    /// `register = register op memory`.
    ToRegister(Alu, Reg),
    /// STOS.
    Stos,
    /// LODS.
    Lods,
    /// MOVS.
    Movs,
}

/// A decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Length of the instruction in bytes.
    pub len: u64,
    /// The operation.
    pub op: Op,
    /// Width of the memory operand in bytes.
    pub size: usize,
    /// The instruction has a REP or REPNE prefix.
    pub rep: bool,
    /// Width of an address in bytes, which is the width of RCX, RSI and RDI in a string
    /// instruction.
    pub address_size: usize,
    /// Segment of the operand at RSI by its hardware number: ES, CS, SS, DS, FS, GS.
    pub segment: usize,
}

/// The result of an instruction that has read memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The value to write back to memory.
    pub write: Option<u64>,
    /// RFLAGS.
    pub rflags: u64,
}

impl Insn {
    /// Returns whether it is a string instruction.
    pub fn is_string(&self) -> bool {
        matches!(self.op, Op::Stos | Op::Lods | Op::Movs)
    }

    /// Returns the value to write, if the instruction reads no memory first.
    pub fn stored(&self, regs: &Gprs) -> Option<u64> {
        match self.op {
            Op::Store(src) => Some(src.get(regs) & mask(self.size)),
            Op::Stos => Some(regs.0[RAX] & mask(self.size)),
            _ => None,
        }
    }

    /// Executes the instruction with `value`, which was read from memory.
    pub fn loaded(&self, value: u64, regs: &mut Gprs, rflags: u64) -> Outcome {
        let value = value & mask(self.size);
        let mut out = Outcome { write: None, rflags };
        match self.op {
            Op::Load { dst, signed } => {
                regs.set(dst, if signed { sign_extend(value, self.size) } else { value });
            }
            Op::Lods => regs.set(Reg { index: RAX, size: self.size, high: false }, value),
            Op::Exchange(reg) => {
                out.write = Some(regs.get(reg));
                regs.set(reg, value);
            }
            Op::ToMemory(alu, src) => {
                let (result, flags) = alu.apply(value, src.get(regs), self.size);
                out.write = alu.writes().then_some(result);
                out.rflags = (rflags & !STATUS) | flags;
            }
            Op::ToRegister(alu, reg) => {
                let (result, flags) = alu.apply(regs.get(reg), value, self.size);
                if alu.writes() {
                    regs.set(reg, result);
                }
                out.rflags = (rflags & !STATUS) | flags;
            }
            Op::Store(_) | Op::Stos | Op::Movs => {}
        }
        out
    }
}

fn reg(r: Register) -> Option<Reg> {
    let n = r as usize;
    let at = |first: Register| n.checked_sub(first as usize);
    let plain = |index, size| Some(Reg { index, size, high: false });
    match r {
        _ if (Register::AL..=Register::BL).contains(&r) => plain(at(Register::AL)?, 1),
        _ if (Register::AH..=Register::BH).contains(&r) => {
            Some(Reg { index: at(Register::AH)?, size: 1, high: true })
        }
        _ if (Register::SPL..=Register::R15L).contains(&r) => plain(at(Register::SPL)? + 4, 1),
        _ if (Register::AX..=Register::R15W).contains(&r) => plain(at(Register::AX)?, 2),
        _ if (Register::EAX..=Register::R15D).contains(&r) => plain(at(Register::EAX)?, 4),
        _ if (Register::RAX..=Register::R15).contains(&r) => plain(at(Register::RAX)?, 8),
        _ => None,
    }
}

fn memory_bytes(size: MemorySize) -> Option<usize> {
    use MemorySize as M;
    Some(match size {
        M::UInt8 | M::Int8 => 1,
        M::UInt16 | M::Int16 => 2,
        M::UInt32 | M::Int32 => 4,
        M::UInt64 | M::Int64 => 8,
        _ => return None,
    })
}

fn source(i: &Instruction, operand: u32) -> Option<Source> {
    Some(match i.op_kind(operand) {
        OpKind::Register => Source::Reg(reg(i.op_register(operand))?),
        OpKind::Memory => return None,
        _ => Source::Imm(i.try_immediate(operand).ok()?),
    })
}

fn alu(m: Mnemonic) -> Option<Alu> {
    Some(match m {
        Mnemonic::Add => Alu::Add,
        Mnemonic::Sub => Alu::Sub,
        Mnemonic::Cmp => Alu::Cmp,
        Mnemonic::And => Alu::And,
        Mnemonic::Test => Alu::Test,
        Mnemonic::Or => Alu::Or,
        Mnemonic::Xor => Alu::Xor,
        _ => return None,
    })
}

fn string_op(m: Mnemonic) -> Option<(Op, usize)> {
    use Mnemonic as M;
    Some(match m {
        M::Stosb => (Op::Stos, 1),
        M::Stosw => (Op::Stos, 2),
        M::Stosd => (Op::Stos, 4),
        M::Stosq => (Op::Stos, 8),
        M::Lodsb => (Op::Lods, 1),
        M::Lodsw => (Op::Lods, 2),
        M::Lodsd => (Op::Lods, 4),
        M::Lodsq => (Op::Lods, 8),
        M::Movsb => (Op::Movs, 1),
        M::Movsw => (Op::Movs, 2),
        M::Movsd => (Op::Movs, 4),
        M::Movsq => (Op::Movs, 8),
        _ => return None,
    })
}

/// Returns the width of an address in a string instruction, from its index registers.
fn string_address(i: &Instruction) -> Option<usize> {
    (0..i.op_count()).find_map(|n| match i.op_kind(n) {
        OpKind::MemorySegSI | OpKind::MemoryESDI => Some(2),
        OpKind::MemorySegESI | OpKind::MemoryESEDI => Some(4),
        OpKind::MemorySegRSI | OpKind::MemoryESRDI => Some(8),
        _ => None,
    })
}

/// Returns whether the instruction is a MOV whose address is an immediate (opcodes A0 to A3).
fn has_offset(i: &Instruction) -> bool {
    matches!(
        i.code(),
        Code::Mov_AL_moffs8
            | Code::Mov_AX_moffs16
            | Code::Mov_EAX_moffs32
            | Code::Mov_RAX_moffs64
            | Code::Mov_moffs8_AL
            | Code::Mov_moffs16_AX
            | Code::Mov_moffs32_EAX
            | Code::Mov_moffs64_RAX
    )
}

/// Decodes the instruction in `bytes`, in code of `bits`. Returns `None` for an instruction that
/// mini-ACRN does not emulate. Like ACRN, it does not decode the MOVs of opcodes A0 to A3.
pub fn decode(bytes: &[u8], bits: u32) -> Option<Insn> {
    let i = Decoder::new(bits, bytes, DecoderOptions::NONE).decode();
    if i.is_invalid() || has_offset(&i) {
        return None;
    }
    let mut insn = Insn {
        len: i.len() as u64,
        op: Op::Stos,
        size: 0,
        rep: i.has_rep_prefix() || i.has_repne_prefix(),
        address_size: 8,
        segment: 3,
    };
    if let (Some((op, size)), Some(address_size)) = (string_op(i.mnemonic()), string_address(&i)) {
        let segment = match i.segment_prefix() {
            Register::None => 3,
            s => s as usize - Register::ES as usize,
        };
        return Some(Insn { op, size, address_size, segment, ..insn });
    }
    insn.rep = false;
    insn.size = memory_bytes(i.memory_size())?;
    let memory_first = i.op0_kind() == OpKind::Memory;
    insn.op = match i.mnemonic() {
        Mnemonic::Mov | Mnemonic::Movnti if memory_first => Op::Store(source(&i, 1)?),
        Mnemonic::Mov | Mnemonic::Movzx => Op::Load { dst: reg(i.op0_register())?, signed: false },
        Mnemonic::Movsx | Mnemonic::Movsxd => {
            Op::Load { dst: reg(i.op0_register())?, signed: true }
        }
        Mnemonic::Xchg if memory_first => Op::Exchange(reg(i.op1_register())?),
        Mnemonic::Xchg => Op::Exchange(reg(i.op0_register())?),
        m if memory_first => Op::ToMemory(alu(m)?, source(&i, 1)?),
        m => Op::ToRegister(alu(m)?, reg(i.op0_register())?),
    };
    Some(insn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regs::{RBX, RCX, RDX};

    fn r(index: usize, size: usize) -> Reg {
        Reg { index, size, high: false }
    }

    fn op(bytes: &[u8], bits: u32) -> (Op, usize, u64) {
        let i = decode(bytes, bits).expect("decodes");
        (i.op, i.size, i.len)
    }

    #[test]
    fn moves() {
        assert_eq!(op(&[0x89, 0x10], 64), (Op::Store(Source::Reg(r(RDX, 4))), 4, 2));
        assert_eq!(
            op(&[0x88, 0x30], 64).0,
            Op::Store(Source::Reg(Reg { index: RDX, size: 1, high: true }))
        );
        assert_eq!(op(&[0x40, 0x88, 0x30], 64).0, Op::Store(Source::Reg(r(6, 1))));
        assert_eq!(op(&[0x48, 0x8B, 0x03], 64), (Op::Load { dst: r(RAX, 8), signed: false }, 8, 3));
        assert_eq!(op(&[0x66, 0xC7, 0x00, 0x34, 0x12], 64), (Op::Store(Source::Imm(0x1234)), 2, 5));
        let (store, size, _) = op(&[0x48, 0xC7, 0x00, 0xFE, 0xFF, 0xFF, 0xFF], 64);
        assert_eq!((store, size), (Op::Store(Source::Imm(!1)), 8));
        // movzx eax, byte [rbx]; movsx rcx, word [rbx]; movsxd rbx, dword [rax]
        assert_eq!(op(&[0x0F, 0xB6, 0x03], 64), (Op::Load { dst: r(RAX, 4), signed: false }, 1, 3));
        assert_eq!(
            op(&[0x48, 0x0F, 0xBF, 0x0B], 64),
            (Op::Load { dst: r(RCX, 8), signed: true }, 2, 4)
        );
        assert_eq!(op(&[0x48, 0x63, 0x18], 64), (Op::Load { dst: r(RBX, 8), signed: true }, 4, 3));
    }

    #[test]
    fn offsets_are_not_decoded() {
        for opcode in 0xA0..=0xA3 {
            assert_eq!(decode(&[opcode, 0x34, 0x12], 16), None);
            assert_eq!(decode(&[opcode, 0x78, 0x56, 0x34, 0x12], 32), None);
            assert_eq!(decode(&[0x48, opcode, 1, 2, 3, 4, 5, 6, 7, 8], 64), None);
        }
    }

    #[test]
    fn strings() {
        let i = decode(&[0xF3, 0x48, 0xAB], 64).unwrap();
        assert_eq!((i.op, i.size, i.rep, i.address_size), (Op::Stos, 8, true, 8));
        let i = decode(&[0x26, 0xAC], 16).unwrap();
        assert_eq!((i.op, i.size, i.segment, i.address_size), (Op::Lods, 1, 0, 2));
        let i = decode(&[0xF3, 0x67, 0xA5], 64).unwrap();
        assert_eq!((i.op, i.size, i.rep, i.address_size), (Op::Movs, 4, true, 4));
        assert!(decode(&[0xA5], 32).unwrap().is_string());
        assert_eq!(decode(&[0xA6], 32), None, "CMPS is not emulated");
    }

    #[test]
    fn values_and_flags() {
        let mut regs = Gprs([0x1111_2222_3333_4444; 16]);
        let movsx = decode(&[0x48, 0x0F, 0xBE, 0x03], 64).unwrap();
        movsx.loaded(0x80, &mut regs, 2);
        assert_eq!(regs.0[RAX], 0xFFFF_FFFF_FFFF_FF80);
        // or dword [rbx], 0x10
        let or = decode(&[0x83, 0x0B, 0x10], 64).unwrap();
        assert_eq!(or.loaded(0x8000_0001, &mut regs, 2).write, Some(0x8000_0011));
        // test dword [rbx], 1 reads only.
        let test = decode(&[0xF7, 0x03, 1, 0, 0, 0], 64).unwrap();
        let out = test.loaded(0xFFFF_FFFE, &mut regs, 2);
        assert_eq!((out.write, out.rflags & 0x40), (None, 0x40));
        let xchg = decode(&[0x87, 0x0B], 64).unwrap();
        assert_eq!(xchg.loaded(7, &mut regs, 2).write, Some(0x3333_4444));
        assert_eq!(regs.0[RCX], 7);
        assert_eq!(decode(&[0x89, 0x10], 64).unwrap().stored(&regs), Some(0x3333_4444));
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(decode(&[0x0F, 0x0B], 64), None);
        assert_eq!(decode(&[0x89], 64), None);
        assert_eq!(decode(&[], 64), None);
        assert_eq!(decode(&[0x0F, 0x29, 0x00], 64), None, "SSE stores are not emulated");
    }
}
