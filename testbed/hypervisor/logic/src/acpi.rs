// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! ACPI tables for the Service VM.
//!
//! They are the firmware's tables with two changes to the MADT: it omits the CPU that runs no
//! guests, and has a multiprocessor wake-up structure (ACPI 6.5, 5.2.12.19).

use alloc::vec::Vec;

/// Size in bytes of the header that every table has.
pub const HEADER: usize = 36;
const MADT_HEADER: usize = 44;
const LOCAL_APIC: u8 = 0;
const LOCAL_X2APIC: u8 = 9;
const MP_WAKEUP: u8 = 16;

/// Access to physical memory.
pub trait PhysRead {
    /// Returns the `len` bytes at `addr`, `None` if they are not readable.
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]>;
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |a, b| a.wrapping_add(*b))
}

fn fix_checksum(table: &mut [u8], at: usize) {
    table[at] = 0;
    table[at] = sum(table).wrapping_neg();
}

/// Finds the RSDP in the BIOS area and returns the address of the RSDT.
pub fn find_rsdt(mem: &impl PhysRead) -> Option<u64> {
    let area = mem.bytes(0xE_0000, 0x2_0000)?;
    let rsdp = area.chunks_exact(16).enumerate().find_map(|(i, c)| {
        let found = c.starts_with(b"RSD PTR ") && sum(area.get(i * 16..i * 16 + 20)?) == 0;
        found.then_some(&area[i * 16..i * 16 + 20])
    })?;
    u32_at(rsdp, 16).map(u64::from)
}

/// Returns the table at `addr` if its checksum is correct.
pub fn table(mem: &impl PhysRead, addr: u64) -> Option<&[u8]> {
    let len = u32_at(mem.bytes(addr, HEADER)?, 4)? as usize;
    let bytes = mem.bytes(addr, len.max(HEADER))?;
    (sum(bytes) == 0).then_some(bytes)
}

/// Returns the addresses of the tables that `rsdt` lists.
pub fn entries(rsdt: &[u8]) -> impl Iterator<Item = u64> + '_ {
    rsdt[HEADER..].chunks_exact(4).map(|c| u64::from(u32::from_le_bytes([c[0], c[1], c[2], c[3]])))
}

/// Returns the table with `signature`.
pub fn find<'a>(mem: &'a impl PhysRead, rsdt: &[u8], signature: &[u8; 4]) -> Option<&'a [u8]> {
    entries(rsdt).filter_map(|a| table(mem, a)).find(|t| t.starts_with(signature))
}

fn madt_entries(madt: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = madt.get(MADT_HEADER..).unwrap_or(&[]);
    core::iter::from_fn(move || {
        let len = usize::from(*rest.get(1)?);
        let entry = rest.get(..len).filter(|e| e.len() >= 2)?;
        rest = &rest[entry.len()..];
        Some(entry)
    })
}

/// Returns the LAPIC ids of the enabled CPUs in `madt`.
pub fn lapic_ids(madt: &[u8]) -> Vec<u8> {
    madt_entries(madt)
        .filter(|e| e[0] == LOCAL_APIC && e.len() >= 8 && e[4] & 1 != 0)
        .map(|e| e[3])
        .collect()
}

/// Returns `madt` with the CPUs that `keep` selects, and with a wake-up structure.
pub fn patch_madt(
    madt: &[u8],
    keep: impl Fn(u8) -> bool,
    mailbox: u64,
    reset_vector: u64,
) -> Vec<u8> {
    let mut out = madt[..MADT_HEADER].to_vec();
    for e in madt_entries(madt) {
        let drop = match e[0] {
            LOCAL_APIC => e.len() < 8 || !keep(e[3]),
            LOCAL_X2APIC => true,
            _ => false,
        };
        if !drop {
            out.extend_from_slice(e);
        }
    }
    // Type, length, version 1, reserved, mailbox, reset vector.
    out.extend_from_slice(&[MP_WAKEUP, 24, 1, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&mailbox.to_le_bytes());
    out.extend_from_slice(&reset_vector.to_le_bytes());
    let len = out.len() as u32;
    out[4..8].copy_from_slice(&len.to_le_bytes());
    fix_checksum(&mut out, 9);
    out
}

/// Returns `rsdt` with the entry `old` replaced by `new`.
pub fn patch_rsdt(rsdt: &[u8], old: u64, new: u64) -> Vec<u8> {
    let mut out = rsdt[..HEADER].to_vec();
    for a in entries(rsdt) {
        let a = if a == old { new } else { a };
        out.extend_from_slice(&(a as u32).to_le_bytes());
    }
    fix_checksum(&mut out, 9);
    out
}

/// Returns an RSDP of revision 0 that points to `rsdt`.
pub fn rsdp(rsdt: u64) -> [u8; 20] {
    let mut out = *b"RSD PTR \0MIACRN\0\0\0\0\0";
    out[16..20].copy_from_slice(&(rsdt as u32).to_le_bytes());
    fix_checksum(&mut out, 8);
    out
}

/// Returns the port of the PM timer in `fadt`.
pub fn pm_timer_port(fadt: &[u8]) -> Option<u16> {
    u32_at(fadt, 76).map(|p| p as u16).filter(|p| *p != 0)
}

/// Returns the port of the PM1a control register in `fadt`.
pub fn pm1a_control_port(fadt: &[u8]) -> Option<u16> {
    u32_at(fadt, 64).map(|p| p as u16).filter(|p| *p != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn madt() -> Vec<u8> {
        let mut m = vec![0; MADT_HEADER];
        m[..4].copy_from_slice(b"APIC");
        for id in 0..4 {
            m.extend_from_slice(&[0, 8, id, id, 1, 0, 0, 0]);
        }
        m.extend_from_slice(&[1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0]);
        let len = m.len() as u32;
        m[4..8].copy_from_slice(&len.to_le_bytes());
        fix_checksum(&mut m, 9);
        m
    }

    #[test]
    fn madt_keeps_selected_cpus() {
        assert_eq!(lapic_ids(&madt()), [0, 1, 2, 3]);
        let got = patch_madt(&madt(), |id| id > 1, 0x1000, 0x2000);
        assert_eq!(lapic_ids(&got), [2, 3]);
        assert_eq!(sum(&got), 0);
        let types: Vec<u8> = madt_entries(&got).map(|e| e[0]).collect();
        assert_eq!(types, [0, 0, 1, 16]);
        assert_eq!(got.len() as u32, u32_at(&got, 4).unwrap());
    }

    #[test]
    fn a_broken_madt_ends_the_walk() {
        let mut m = madt();
        let last = m.len() - 11;
        m[last] = 200;
        assert_eq!(lapic_ids(&m), [0, 1, 2, 3]);
        m[MADT_HEADER + 1] = 0;
        assert!(lapic_ids(&m).is_empty());
    }

    #[test]
    fn root_tables() {
        let mut rsdt = vec![0; HEADER];
        rsdt.extend_from_slice(&0x1111u32.to_le_bytes());
        rsdt.extend_from_slice(&0x2222u32.to_le_bytes());
        let got = patch_rsdt(&rsdt, 0x2222, 0x3333);
        assert_eq!(entries(&got).collect::<Vec<_>>(), [0x1111, 0x3333]);
        assert_eq!(sum(&got), 0);
        assert_eq!(sum(&rsdp(0x1234)), 0);
    }
}
