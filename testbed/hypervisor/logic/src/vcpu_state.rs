// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Start states of a User VM's vCPU: reset, start-up IPI, and SET_VCPU_REGS.

use crate::regs::Gprs;
use crate::vmcb::{
    CR0_PE, CR0_PG, CR4_PAE, EFER_GUEST, EFER_LMA, EFER_LME, EFER_SVME, PAT_RESET, Save, Segment,
};
use acrn_uapi::acrn_regs;

/// Access rights of data segments in protected mode, in VMX format.
const PROTECTED_DATA: u32 = 0xC093;
/// Access rights of data segments in real mode.
const REAL_DATA: u32 = 0x93;
/// CR0 bits that exist: PE, MP, EM, TS, ET, NE, WP, AM, NW, CD, PG.
const CR0_DEFINED: u64 = 0xE005_003F;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
/// CR4 bits that a guest may start with: all up to UMIP, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP and
/// PKE, but not LA57.
const CR4_DEFINED: u64 = 0x0077_0FFF;

/// Sets the power-on state: the first instruction is at F000:FFF0, 16 bytes below 4 GiB.
pub fn power_on(save: &mut Save) {
    save.reset(
        Segment { selector: 0xF000, attributes: 0x9B, limit: 0xFFFF, base: 0xFFFF_0000 },
        0xFFF0,
    );
}

/// Sets the state after a start-up IPI with `page`.
pub fn startup(save: &mut Save, page: u8) {
    let page = u64::from(page);
    let cs =
        Segment { selector: (page << 8) as u16, attributes: 0x9B, limit: 0xFFFF, base: page << 12 };
    save.reset(cs, 0);
}

/// Returns whether CR0, CR4 and EFER are valid together.
pub fn control_registers_valid(cr0: u64, cr4: u64, efer: u64) -> bool {
    cr0 & !CR0_DEFINED == 0
        && cr4 & !CR4_DEFINED == 0
        && (cr0 & CR0_PG == 0 || cr0 & CR0_PE != 0)
        && (cr0 & CR0_NW == 0 || cr0 & CR0_CD != 0)
        && (cr0 & CR0_PG == 0 || efer & EFER_LME == 0 || cr4 & CR4_PAE != 0)
}

/// Sets the state of `regs`. Segments other than CS get fixed access rights and limits, as on ACRN.
pub fn from_regs(regs: &acrn_regs, save: &mut Save, gprs: &mut Gprs) {
    let (ar, limit) =
        if regs.cr0 & CR0_PE != 0 { (PROTECTED_DATA, u32::MAX) } else { (REAL_DATA, 0xFFFF) };
    let data = |selector| Segment::from_access_rights(selector, ar, limit, 0);
    save.reset(
        Segment::from_access_rights(regs.cs_sel, regs.cs_ar, regs.cs_limit, regs.cs_base),
        regs.rip,
    );
    save.ss = data(regs.ss_sel);
    save.ds = data(regs.ds_sel);
    save.es = data(regs.es_sel);
    save.fs = data(regs.fs_sel);
    save.gs = data(regs.gs_sel);
    save.ldtr.selector = regs.ldt_sel;
    save.tr.selector = regs.tr_sel;
    (save.gdtr.base, save.gdtr.limit) = (regs.gdt.base, u32::from(regs.gdt.limit));
    (save.idtr.base, save.idtr.limit) = (regs.idt.base, u32::from(regs.idt.limit));
    (save.cr0, save.cr3, save.cr4) = (regs.cr0, regs.cr3, regs.cr4);
    save.efer = (regs.ia32_efer & EFER_GUEST) | EFER_SVME;
    if save.efer & EFER_LME != 0 && save.cr0 & CR0_PG != 0 {
        save.efer |= EFER_LMA;
    }
    // The status flags are cleared.
    save.rflags = if regs.rflags == 0 { 2 } else { (regs.rflags & !0x8D5 & 0x3F_7FD7) | 2 };
    save.g_pat = PAT_RESET;
    let g = &regs.gprs;
    *gprs = Gprs([
        g.rax, g.rcx, g.rdx, g.rbx, g.rsp, g.rbp, g.rsi, g.rdi, g.r8, g.r9, g.r10, g.r11, g.r12,
        g.r13, g.r14, g.r15,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmcb::Vmcb;
    use zerocopy::FromZeros;

    #[test]
    fn long_mode_start() {
        let mut regs = acrn_regs::default();
        (regs.cr0, regs.cr4, regs.cr3) = (0x8000_0011, 0x20, 0x9000);
        (regs.ia32_efer, regs.rip, regs.cs_ar, regs.cs_limit) =
            (0x500, 0x100_0200, 0xA09B, u32::MAX);
        regs.gprs.rsi = 0x7000;
        assert!(control_registers_valid(regs.cr0, regs.cr4, regs.ia32_efer));
        let (mut vmcb, mut gprs) = (Vmcb::new_zeroed(), Gprs::default());
        from_regs(&regs, &mut vmcb.save, &mut gprs);
        assert_eq!(vmcb.save.mode().bits, 64);
        assert_eq!(vmcb.save.linear_rip(), 0x100_0200);
        assert_eq!(vmcb.save.efer, 0x1500);
        assert_eq!(vmcb.save.ds.attributes, 0xC93);
        assert_eq!(gprs.0[6], 0x7000);
        assert_eq!(vmcb.save.rflags, 2);
    }

    #[test]
    fn startup_page() {
        let mut vmcb = Vmcb::new_zeroed();
        startup(&mut vmcb.save, 0x9A);
        assert_eq!((vmcb.save.linear_rip(), vmcb.save.cs.selector), (0x9_A000, 0x9A00));
        power_on(&mut vmcb.save);
        assert_eq!(vmcb.save.linear_rip(), 0xFFFF_FFF0);
    }

    #[test]
    fn bad_control_registers() {
        assert!(control_registers_valid(0x10, 0, 0));
        assert!(!control_registers_valid(0x8000_0010, 0, 0), "PG without PE");
        assert!(!control_registers_valid(1 << 32, 0, 0));
        assert!(!control_registers_valid(CR0_NW, 0, 0));
        assert!(!control_registers_valid(0x8000_0011, 0, EFER_LME), "long mode without PAE");
        assert!(!control_registers_valid(0x11, 1 << 31, 0));
    }
}
