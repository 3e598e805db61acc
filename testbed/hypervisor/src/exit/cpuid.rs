// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! CPUID exits.

use crate::svm::Context;
use crate::time;
use mini_acrn_logic::cpuid::{Environment, Guest, Leaf, emulate, is_synthetic};
use mini_acrn_logic::regs::{RAX, RBX, RCX, RDX};

/// Emulates the CPUID that made `cx` exit.
pub fn exit(cx: &mut Context, guest: Guest) {
    let regs = cx.gprs().0;
    let (leaf, subleaf) = (regs[RAX] as u32, regs[RCX] as u32);
    let raw = if is_synthetic(leaf) {
        Leaf::default()
    } else {
        let r = core::arch::x86_64::__cpuid_count(leaf, subleaf);
        Leaf { eax: r.eax, ebx: r.ebx, ecx: r.ecx, edx: r.edx }
    };
    let environment = Environment { guest, cr4: cx.vmcb.save.cr4, tsc_khz: time::tsc_khz() };
    let l = emulate(leaf, subleaf, raw, &environment);
    let out = &mut cx.gprs().0;
    (out[RAX], out[RBX], out[RCX], out[RDX]) =
        (l.eax.into(), l.ebx.into(), l.ecx.into(), l.edx.into());
    cx.skip(2);
}
