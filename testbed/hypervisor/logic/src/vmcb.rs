// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The virtual machine control block (VMCB; AMD APM vol. 2, appendix B).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// Intercepts of the vector at offset 0x00C.
    pub struct Intercept1: u32 {
        /// Physical NMI.
        const NMI = 1 << 1;
        /// CPUID.
        const CPUID = 1 << 18;
        /// INVD.
        const INVD = 1 << 22;
        /// HLT.
        const HLT = 1 << 24;
        /// INVLPGA.
        const INVLPGA = 1 << 26;
        /// Ports of the I/O permission map.
        const IOIO = 1 << 27;
        /// MSRs of the MSR permission map.
        const MSR = 1 << 28;
        /// Triple fault.
        const SHUTDOWN = 1 << 31;
    }

    /// Intercepts of the vector at offset 0x010.
    pub struct Intercept2: u32 {
        /// VMRUN. The hardware requires this intercept.
        const VMRUN = 1 << 0;
        /// VMMCALL.
        const VMMCALL = 1 << 1;
        /// VMLOAD.
        const VMLOAD = 1 << 2;
        /// VMSAVE.
        const VMSAVE = 1 << 3;
        /// STGI.
        const STGI = 1 << 4;
        /// CLGI.
        const CLGI = 1 << 5;
        /// SKINIT.
        const SKINIT = 1 << 6;
        /// MONITOR.
        const MONITOR = 1 << 10;
        /// MWAIT.
        const MWAIT = 1 << 11;
        /// All instructions of SVM.
        const SVM = 0x7F;
    }
}

/// Exit codes.
pub mod exit {
    /// #DB.
    pub const DB: u64 = 0x41;
    /// #UD.
    pub const UD: u64 = 0x46;
    /// Physical NMI.
    pub const NMI: u64 = 0x61;
    /// CPUID.
    pub const CPUID: u64 = 0x72;
    /// INVD.
    pub const INVD: u64 = 0x76;
    /// HLT.
    pub const HLT: u64 = 0x78;
    /// Port I/O.
    pub const IOIO: u64 = 0x7B;
    /// RDMSR or WRMSR.
    pub const MSR: u64 = 0x7C;
    /// Triple fault.
    pub const SHUTDOWN: u64 = 0x7F;
    /// VMMCALL.
    pub const VMMCALL: u64 = 0x81;
    /// Nested page fault.
    pub const NPF: u64 = 0x400;
    /// The VMCB is invalid. In the APM the code is -1. QEMU stores its lower half only.
    pub const INVALID: u64 = 0xFFFF_FFFF;
}

/// Error code of a nested page fault (APM vol. 2, 15.25.6).
pub mod npf {
    /// The page is present.
    pub const PRESENT: u64 = 1 << 0;
    /// The access is a write.
    pub const WRITE: u64 = 1 << 1;
    /// The access is an instruction fetch.
    pub const FETCH: u64 = 1 << 4;
    /// The access is one to the guest's page tables.
    pub const TABLE: u64 = 1 << 33;
}

/// Vector of #DB.
pub const DB: u8 = 1;
/// Vector of #UD.
pub const UD: u8 = 6;
/// Vector of #GP.
pub const GP: u8 = 13;
/// Vector of #PF.
pub const PF: u8 = 14;

/// An event to inject at the next VMRUN (APM vol. 2, 15.20). EXITINTINFO has the same format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event(pub u64);

impl Event {
    /// No event.
    pub const NONE: Self = Self(0);
    /// An NMI.
    pub const NMI: Self = Self(2 | 2 << 8 | 1 << 31);

    /// Returns an exception without an error code.
    pub const fn fault(vector: u8) -> Self {
        Self(vector as u64 | 3 << 8 | 1 << 31)
    }

    /// Returns an exception with an error code.
    pub const fn fault_with_code(vector: u8, code: u32) -> Self {
        Self(vector as u64 | 3 << 8 | 1 << 11 | 1 << 31 | (code as u64) << 32)
    }

    /// Returns whether there is an event.
    pub fn is_valid(self) -> bool {
        self.0 & 1 << 31 != 0
    }

    /// Returns whether it is a software interrupt. The guest raises it again, because it executes
    /// the instruction again.
    pub fn is_software(self) -> bool {
        (self.0 >> 8) & 7 == 4
    }
}

/// A segment register with its hidden part.
#[repr(C)]
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Type, S, DPL, P in bits 0 to 7; AVL, L, D/B, G in bits 8 to 11.
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Base.
    pub base: u64,
}

/// L bit of a code segment in [`Segment::attributes`].
pub const SEG_LONG: u16 = 1 << 9;
/// D/B bit in [`Segment::attributes`].
pub const SEG_DB: u16 = 1 << 10;

impl Segment {
    /// Returns the segment for an access-rights word in VMX format, which ACRN's ABI uses.
    pub fn from_access_rights(selector: u16, ar: u32, limit: u32, base: u64) -> Self {
        let attributes = (ar & 0xFF) as u16 | ((ar >> 4) & 0xF00) as u16;
        Self { selector, attributes, limit, base }
    }
}

/// The control area.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Control {
    intercept_cr: u32,
    intercept_dr: u32,
    /// Exceptions, one bit per vector.
    pub intercept_exceptions: u32,
    /// [`Intercept1`].
    pub intercept1: u32,
    /// [`Intercept2`].
    pub intercept2: u32,
    reserved1: [u8; 0x2C],
    /// Physical address of the I/O permission map.
    pub iopm: u64,
    /// Physical address of the MSR permission map.
    pub msrpm: u64,
    tsc_offset: u64,
    /// Address space id, never 0.
    pub asid: u32,
    /// 1 flushes the whole TLB at VMRUN.
    pub tlb_control: u32,
    /// V_TPR and related fields.
    pub int_ctl: u32,
    int_vector: u32,
    /// Bit 0: interrupt shadow.
    pub int_state: u64,
    /// Exit code, one of [`exit`].
    pub exit_code: u64,
    /// EXITINFO1.
    pub exit_info1: u64,
    /// EXITINFO2.
    pub exit_info2: u64,
    /// Event whose delivery the exit interrupted.
    pub exit_int_info: u64,
    /// Bit 0: nested paging.
    pub np_enable: u64,
    reserved2: [u8; 0x10],
    /// Event to inject.
    pub event_inj: u64,
    /// Root of the nested page tables.
    pub n_cr3: u64,
    reserved3: [u8; 0x400 - 0xB8],
}

/// The state save area.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Save {
    /// ES.
    pub es: Segment,
    /// CS.
    pub cs: Segment,
    /// SS.
    pub ss: Segment,
    /// DS.
    pub ds: Segment,
    /// FS, valid after VMSAVE only.
    pub fs: Segment,
    /// GS, valid after VMSAVE only.
    pub gs: Segment,
    /// GDTR.
    pub gdtr: Segment,
    /// LDTR, valid after VMSAVE only.
    pub ldtr: Segment,
    /// IDTR.
    pub idtr: Segment,
    /// TR, valid after VMSAVE only.
    pub tr: Segment,
    reserved1: [u8; 0x2B],
    /// Current privilege level.
    pub cpl: u8,
    reserved2: u32,
    /// EFER, with SVME always set.
    pub efer: u64,
    reserved3: [u8; 0x70],
    /// CR4.
    pub cr4: u64,
    /// CR3.
    pub cr3: u64,
    /// CR0.
    pub cr0: u64,
    /// DR7.
    pub dr7: u64,
    /// DR6.
    pub dr6: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RIP.
    pub rip: u64,
    reserved4: [u8; 0x58],
    /// RSP.
    pub rsp: u64,
    reserved5: [u8; 0x18],
    /// RAX.
    pub rax: u64,
    star: u64,
    lstar: u64,
    cstar: u64,
    sfmask: u64,
    kernel_gs_base: u64,
    sysenter: [u64; 3],
    /// CR2.
    pub cr2: u64,
    reserved6: [u8; 0x20],
    /// PAT of the guest, used with nested paging.
    pub g_pat: u64,
    reserved7: [u8; 0xC00 - 0x270],
}

/// A VMCB, one page.
#[repr(C, align(4096))]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Vmcb {
    /// Intercepts, exit information and events.
    pub control: Control,
    /// Registers.
    pub save: Save,
}

const _: () = assert!(size_of::<Vmcb>() == 4096);
const _: () = assert!(core::mem::offset_of!(Control, iopm) == 0x40);
const _: () = assert!(core::mem::offset_of!(Control, int_ctl) == 0x60);
const _: () = assert!(core::mem::offset_of!(Control, exit_code) == 0x70);
const _: () = assert!(core::mem::offset_of!(Control, event_inj) == 0xA8);
const _: () = assert!(core::mem::offset_of!(Save, cpl) == 0xCB);
const _: () = assert!(core::mem::offset_of!(Save, efer) == 0xD0);
const _: () = assert!(core::mem::offset_of!(Save, cr4) == 0x148);
const _: () = assert!(core::mem::offset_of!(Save, rip) == 0x178);
const _: () = assert!(core::mem::offset_of!(Save, rsp) == 0x1D8);
const _: () = assert!(core::mem::offset_of!(Save, rax) == 0x1F8);
const _: () = assert!(core::mem::offset_of!(Save, cr2) == 0x240);
const _: () = assert!(core::mem::offset_of!(Save, g_pat) == 0x268);

/// CR0.PE.
pub const CR0_PE: u64 = 1;
/// CR0.ET.
pub const CR0_ET: u64 = 1 << 4;
/// CR0.PG.
pub const CR0_PG: u64 = 1 << 31;
/// CR4.PSE.
pub const CR4_PSE: u64 = 1 << 4;
/// CR4.PAE.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.OSXSAVE.
pub const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4.PKE.
pub const CR4_PKE: u64 = 1 << 22;
/// EFER.LME.
pub const EFER_LME: u64 = 1 << 8;
/// EFER.LMA.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER.NXE.
pub const EFER_NXE: u64 = 1 << 11;
/// EFER.SVME, set while a guest runs under mini-ACRN, and hidden from it.
pub const EFER_SVME: u64 = 1 << 12;
/// Bits of EFER that a guest may set: SCE, LME, NXE, FFXSR.
pub const EFER_GUEST: u64 = 1 | EFER_LME | EFER_NXE | 1 << 14;
/// PAT after reset.
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;

/// The operating mode, as far as addresses and instructions depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// Default operand and address width: 16, 32 or 64.
    pub bits: u32,
}

impl Save {
    /// Returns EFER as the guest sees it.
    pub fn guest_efer(&self) -> u64 {
        self.efer & !EFER_SVME
    }

    /// Sets EFER on behalf of the guest. LMA keeps its value, and SVME is set.
    pub fn set_guest_efer(&mut self, value: u64) {
        self.efer = (value & EFER_GUEST) | (self.efer & EFER_LMA) | EFER_SVME;
    }

    /// Returns the width of code.
    pub fn mode(&self) -> Mode {
        let bits = if self.efer & EFER_LMA != 0 && self.cs.attributes & SEG_LONG != 0 {
            64
        } else if self.cr0 & CR0_PE != 0 && self.cs.attributes & SEG_DB != 0 {
            32
        } else {
            16
        };
        Mode { bits }
    }

    /// Returns the linear address of RIP.
    pub fn linear_rip(&self) -> u64 {
        match self.mode().bits {
            64 => self.rip,
            _ => (self.cs.base.wrapping_add(self.rip)) & 0xFFFF_FFFF,
        }
    }

    /// Sets the state after INIT (APM vol. 2, 14.1.3), with the first instruction at `cs`:`rip`.
    pub fn reset(&mut self, cs: Segment, rip: u64) {
        let data = Segment { selector: 0, attributes: 0x93, limit: 0xFFFF, base: 0 };
        *self = Self::new_zeroed();
        (self.es, self.ss, self.ds, self.fs, self.gs) = (data, data, data, data, data);
        self.cs = cs;
        self.gdtr.limit = 0xFFFF;
        self.idtr.limit = 0xFFFF;
        self.ldtr = Segment { attributes: 0x82, limit: 0xFFFF, ..data };
        self.tr = Segment { attributes: 0x8B, limit: 0xFFFF, ..data };
        self.efer = EFER_SVME;
        self.cr0 = CR0_ET;
        self.dr6 = 0xFFFF_0FF0;
        self.dr7 = 0x400;
        self.rflags = 2;
        self.rip = rip;
        self.g_pat = PAT_RESET;
    }
}

use zerocopy::FromZeros;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_rights_become_attributes() {
        // Long-mode code segment: present, DPL 0, code; L and G set.
        let cs = Segment::from_access_rights(0x10, 0xA09B, 0xFFFF_FFFF, 0);
        assert_eq!(cs.attributes, 0xA9B);
        assert_ne!(cs.attributes & SEG_LONG, 0);
        assert_eq!(cs.attributes & SEG_DB, 0);
    }

    #[test]
    fn modes() {
        let mut v = Vmcb::new_zeroed();
        let real = Segment { selector: 0xF000, attributes: 0x9B, limit: 0xFFFF, base: 0xFFFF_0000 };
        v.save.reset(real, 0xFFF0);
        assert_eq!(v.save.mode().bits, 16);
        assert_eq!(v.save.linear_rip(), 0xFFFF_FFF0);
        v.save.cr0 |= CR0_PE;
        v.save.cs.attributes |= SEG_DB;
        assert_eq!(v.save.mode().bits, 32);
        v.save.cs.attributes ^= SEG_DB | SEG_LONG;
        v.save.efer |= EFER_LMA;
        assert_eq!(v.save.mode().bits, 64);
        v.save.rip = 0xFFFF_FFFF_8100_0000;
        assert_eq!(v.save.linear_rip(), 0xFFFF_FFFF_8100_0000);
    }

    #[test]
    fn efer_hides_svme_and_keeps_lma() {
        let mut v = Vmcb::new_zeroed();
        v.save.efer = EFER_SVME | EFER_LMA | EFER_LME;
        v.save.set_guest_efer(EFER_LME | 1);
        assert_eq!(v.save.efer, EFER_SVME | EFER_LMA | EFER_LME | 1);
        assert_eq!(v.save.guest_efer() & EFER_SVME, 0);
    }

    #[test]
    fn events() {
        assert!(Event::NMI.is_valid() && !Event::NONE.is_valid());
        assert_eq!(Event::fault_with_code(GP, 5).0, 0x5_8000_0B0D);
        assert!(Event(4 << 8 | 1 << 31 | 0x80).is_software());
    }
}
