// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The interrupt descriptor table (IDT) of `interrupt.s`.

// SAFETY: `interrupt.s` defines these symbols with these types.
unsafe extern "C" {
    static idt: [u128; 256];
    static gate_targets: [u64; 256];
}

/// Fills the IDT, which all CPUs use. Called once, before other CPUs run.
pub fn init() {
    // SAFETY: `gate_targets` is a constant table of 256 addresses in `interrupt.s`.
    let targets = unsafe { &gate_targets };
    for (i, target) in targets.iter().enumerate() {
        let t = u128::from(*target);
        // Selector 8, interrupt gate, present.
        let gate =
            (t & 0xFFFF) | 0x8 << 16 | 0x8E00 << 32 | (t >> 16 & 0xFFFF) << 48 | (t >> 32) << 64;
        // SAFETY: This is entry `i` of the table that `interrupt.s` reserves. No other CPU runs
        // yet.
        unsafe { (&raw const idt).cast_mut().cast::<u128>().add(i).write(gate) };
    }
}
