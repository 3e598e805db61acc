// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The information of a multiboot 1 loader (Multiboot Specification 0.6.96, 3.3).

use crate::phys::FirmwareMemory;
use alloc::vec::Vec;
use mini_acrn_logic::acpi::PhysRead;
use mini_acrn_logic::e820::Entry;

/// Value of EAX at entry.
pub const MAGIC: u32 = 0x2BAD_B002;

/// A file that the loader has loaded.
pub struct Module {
    /// Address of the file.
    pub start: u32,
    /// Contents of the file.
    pub bytes: &'static [u8],
    /// The string of the module without its first word, the name of the file.
    pub args: &'static str,
}

/// The information that mini-ACRN uses.
pub struct Info {
    /// The memory map of the firmware.
    pub map: Vec<Entry>,
    /// The loaded files, in order.
    pub modules: Vec<Module>,
}

fn bytes(addr: u32, len: u32) -> Option<&'static [u8]> {
    FirmwareMemory.bytes(u64::from(addr), len as usize)
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u32_at(b, at)?) | u64::from(u32_at(b, at + 4)?) << 32)
}

fn string(addr: u32) -> Option<&'static str> {
    let text = bytes(addr, 4096)?;
    let end = text.iter().position(|c| *c == 0)?;
    core::str::from_utf8(&text[..end]).ok()
}

/// Parses the structure at `addr`.
pub fn parse(addr: u32) -> Option<Info> {
    let info = bytes(addr, 52)?;
    // Bits 3 and 6: modules and memory map are valid.
    if u32_at(info, 0)? & 0x48 != 0x48 {
        return None;
    }
    let mut modules = Vec::new();
    let (count, list) = (u32_at(info, 20)?, u32_at(info, 24)?);
    for entry in bytes(list, count.checked_mul(16)?)?.chunks_exact(16) {
        let (start, end) = (u32_at(entry, 0)?, u32_at(entry, 4)?);
        let text = string(u32_at(entry, 8)?)?;
        let args = text.trim_start().split_once(' ').map_or("", |(_, args)| args.trim());
        modules.push(Module { start, bytes: bytes(start, end.checked_sub(start)?)?, args });
    }
    let mut map = Vec::new();
    let mut rest = bytes(u32_at(info, 48)?, u32_at(info, 44)?)?;
    while rest.len() >= 24 {
        map.push(Entry { base: u64_at(rest, 4)?, len: u64_at(rest, 12)?, kind: u32_at(rest, 20)? });
        rest = rest.get(u32_at(rest, 0)? as usize + 4..)?;
    }
    Some(Info { map, modules })
}
