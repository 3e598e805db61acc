// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The initial registers of vCPU 0: in real mode, or in long mode with a GDT and page tables in
//! guest memory.

use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use acrn_ioctls::uapi::{acrn_descriptor_ptr, acrn_gp_regs, acrn_regs, acrn_vcpu_regs};

const GDT: u64 = 0x500;
const STACK_TOP: u64 = 0x8ff0;
/// The PML4 and the PDPT, followed by a page directory for each of the first 4 GiB.
const PAGE_TABLES: u64 = 0x9000;
const PAGE: u64 = 0x1000;
const DIRECTORIES: u64 = 4;
const ENTRIES: u64 = 512;

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;

/// The entries: two empty ones, 64-bit code, and data.
const DESCRIPTORS: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

/// Access rights in VMX's encoding: present, code, readable, accessed; in long mode also 64-bit,
/// with the limit in pages.
const CODE_ACCESS: u32 = 0x9b;
const CODE_ACCESS_64: u32 = CODE_ACCESS | 1 << 13 | 1 << 15;

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_NE: u64 = 1 << 5;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const RFLAGS_FIXED: u64 = 1 << 1;

/// Writes the GDT, and page tables that identity-map the first 4 GiB.
fn write_tables(memory: &GuestMemoryMmap) -> Result<(), GuestMemoryError> {
    let write = |address: u64, value: u64| memory.write_obj(value, GuestAddress(address));
    for (descriptor, address) in DESCRIPTORS.into_iter().zip((GDT..).step_by(8)) {
        write(address, descriptor)?;
    }
    let pdpt = PAGE_TABLES + PAGE;
    write(PAGE_TABLES, pdpt | PRESENT_WRITABLE)?;
    for directory in 0..DIRECTORIES {
        let table = pdpt + PAGE * (1 + directory);
        write(pdpt + 8 * directory, table | PRESENT_WRITABLE)?;
        for entry in 0..ENTRIES {
            let page = (directory * ENTRIES + entry) << 21;
            write(table + 8 * entry, page | LARGE | PRESENT_WRITABLE)?;
        }
    }
    Ok(())
}

/// Returns the registers for long mode at `entry`, with `argument` in RSI. Interrupts are disabled.
pub fn long_mode(
    memory: &GuestMemoryMmap,
    entry: u64,
    argument: u64,
) -> Result<acrn_vcpu_regs, GuestMemoryError> {
    write_tables(memory)?;
    let limit = (size_of_val(&DESCRIPTORS) - 1) as u16;
    Ok(vcpu0(acrn_regs {
        gprs: acrn_gp_regs {
            rsi: argument,
            rsp: STACK_TOP,
            ..Default::default()
        },
        gdt: acrn_descriptor_ptr {
            limit,
            base: GDT,
            ..Default::default()
        },
        rip: entry,
        cr0: CR0_PE | CR0_ET | CR0_NE | CR0_PG,
        cr4: CR4_PAE,
        cr3: PAGE_TABLES,
        ia32_efer: EFER_LME | EFER_LMA,
        rflags: RFLAGS_FIXED,
        cs_ar: CODE_ACCESS_64,
        cs_limit: u32::MAX,
        cs_sel: CODE_SELECTOR,
        ss_sel: DATA_SELECTOR,
        ds_sel: DATA_SELECTOR,
        es_sel: DATA_SELECTOR,
        fs_sel: DATA_SELECTOR,
        gs_sel: DATA_SELECTOR,
        ..Default::default()
    }))
}

/// Returns the registers for real mode at `address`, which is below 1 MiB. Interrupts are disabled.
/// CS is 0 if that is possible, for code that was linked for a fixed address.
pub fn real_mode(address: u32) -> acrn_vcpu_regs {
    let segment = if address < 0x1_0000 {
        0
    } else {
        address >> 4 & 0xf000
    };
    let base = segment << 4;
    vcpu0(acrn_regs {
        gprs: acrn_gp_regs {
            rsp: 0x7c00,
            ..Default::default()
        },
        idt: acrn_descriptor_ptr {
            limit: 0x3ff,
            ..Default::default()
        },
        rip: u64::from(address - base),
        cs_base: u64::from(base),
        cr0: CR0_ET | CR0_NE,
        rflags: RFLAGS_FIXED,
        cs_ar: CODE_ACCESS,
        cs_limit: 0xffff,
        cs_sel: segment as u16,
        ..Default::default()
    })
}

fn vcpu0(vcpu_regs: acrn_regs) -> acrn_vcpu_regs {
    acrn_vcpu_regs {
        vcpu_id: 0,
        vcpu_regs,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_mode_addresses_come_out_whole() {
        for address in [0, 0x7c00, 0xffff, 0x1_0000, 0x1_2345, 0xf_fff0] {
            let regs = real_mode(address).vcpu_regs;
            assert_eq!(regs.cs_base + regs.rip, u64::from(address));
            assert_eq!(u64::from(regs.cs_sel) << 4, regs.cs_base);
            assert!(regs.rip <= 0xffff);
        }
        assert_eq!(real_mode(0x7c00).vcpu_regs.cs_sel, 0);
    }

    #[test]
    fn four_gigabytes_are_mapped_one_to_one() {
        let memory = crate::memory::create(2 << 20, false).unwrap();
        let regs = long_mode(&memory, 0x10_0200, 0x7000).unwrap().vcpu_regs;
        let read = |address| memory.read_obj::<u64>(GuestAddress(address)).unwrap();
        let table = |entry: u64| entry & 0x000f_ffff_ffff_f000;
        for address in [0u64, 0x10_0200, 0x4000_0000, 0xfee0_0000, 0xffff_ffff] {
            let pdpt = table(read(regs.cr3 + (address >> 39 & 511) * 8));
            let directory = table(read(pdpt + (address >> 30 & 511) * 8));
            let page = read(directory + (address >> 21 & 511) * 8);
            assert_eq!(page, address >> 21 << 21 | 0x83);
        }
        let gdt = regs.gdt.base;
        assert_eq!(read(gdt + u64::from(regs.cs_sel)), 0x00af_9b00_0000_ffff);
        assert_eq!(read(gdt + u64::from(regs.ds_sel)), 0x00cf_9300_0000_ffff);
    }
}
