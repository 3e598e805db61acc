// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The pages of mini-ACRN that the Service VM sees.
//!
//! They hold the Service VM's start-up data, its ACPI tables, and the mailbox by which it starts
//! further CPUs (ACPI 6.5, 5.2.12.19).

use crate::cpu;
use core::cell::UnsafeCell;
use mini_acrn_logic::acpi;
use mini_acrn_logic::npt::PAGE;
use spin::Mutex;

const GDT: [u64; 4] = [0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF];
/// Offset of the reset vector's code in its page, behind the GDT.
const RESET_VECTOR: usize = 0x800;
/// VMMCALL, then a jump back to it.
const RESET_CODE: [u8; 5] = [0x0F, 0x01, 0xD9, 0xEB, 0xFB];
const PAGES: usize = 9;
const ZERO_PAGE: usize = 0;
const CMDLINE: usize = 1;
const CODE: usize = 2;
const PML4: usize = 3;
const PDPT: usize = 4;
const ACPI: usize = 5;
/// The mailbox is the last page, because writes of the Service VM to it exit.
const MAILBOX: usize = 8;

#[repr(C, align(4096))]
struct Pages(UnsafeCell<[[u8; PAGE as usize]; PAGES]>);
// SAFETY: `fill` writes the pages before any guest runs. Afterwards only the mailbox changes, by
// volatile accesses under `MAILBOX_LOCK`.
unsafe impl Sync for Pages {}

#[unsafe(link_section = ".handoff")]
static PAGES_MEMORY: Pages = Pages(UnsafeCell::new([[0; PAGE as usize]; PAGES]));

fn address(page: usize) -> u64 {
    PAGES_MEMORY.0.get() as u64 + page as u64 * PAGE
}

/// Returns the address and the length in bytes of the pages that the Service VM may read and write.
pub fn writable_pages() -> (u64, u64) {
    (address(0), MAILBOX as u64 * PAGE)
}

/// Returns the address of the mailbox.
pub fn mailbox() -> u64 {
    address(MAILBOX)
}

/// Returns the address of the zero page.
pub fn zero_page() -> u64 {
    address(ZERO_PAGE)
}

/// Returns the root of page tables that map the first 4 GiB one to one.
pub fn page_tables() -> u64 {
    address(PML4)
}

/// Returns the address and the limit of the GDT.
pub fn gdt() -> (u64, u32) {
    (address(CODE), size_of_val(&GDT) as u32 - 1)
}

/// Returns the reset vector of the mailbox: the Service VM sends a CPU there when it gives the CPU
/// up. The code is a VMMCALL.
pub fn reset_vector() -> u64 {
    address(CODE) + RESET_VECTOR as u64
}

/// ACPI tables of the firmware.
pub struct Tables<'a> {
    /// The RSDT.
    pub rsdt: &'a [u8],
    /// The MADT, which lists CPUs and interrupt controllers.
    pub madt: &'a [u8],
    /// Address of the MADT.
    pub madt_addr: u64,
}

/// Fills the pages. `zero_page` gets the zero page, the address of the command line, and the
/// address of the RSDP.
pub fn fill(tables: &Tables, cmdline: &str, zero_page: impl FnOnce(&mut [u8], u32, u64)) {
    // SAFETY: This runs once at boot, before any guest or other CPU uses the pages.
    let pages = unsafe { &mut *PAGES_MEMORY.0.get() };
    pages[CMDLINE][..cmdline.len()].copy_from_slice(cmdline.as_bytes());
    for (i, entry) in GDT.iter().enumerate() {
        pages[CODE][i * 8..i * 8 + 8].copy_from_slice(&entry.to_le_bytes());
    }
    pages[CODE][RESET_VECTOR..RESET_VECTOR + RESET_CODE.len()].copy_from_slice(&RESET_CODE);
    pages[PML4][..8].copy_from_slice(&(address(PDPT) | 3).to_le_bytes());
    for i in 0..4 {
        pages[PDPT][i * 8..i * 8 + 8].copy_from_slice(&(((i as u64) << 30) | 0x83).to_le_bytes());
    }

    // RSDP at offset 0, RSDT at offset 64, MADT on the next pages.
    let madt = acpi::patch_madt(
        tables.madt,
        |lapic_id| cpu::with_lapic_id(lapic_id.into()).is_some(),
        address(MAILBOX),
        reset_vector(),
    );
    let rsdt = acpi::patch_rsdt(tables.rsdt, tables.madt_addr, address(ACPI + 1));
    let rsdp = acpi::rsdp(address(ACPI) + 64);
    let area = pages[ACPI..MAILBOX].as_flattened_mut();
    area[..rsdp.len()].copy_from_slice(&rsdp);
    area[64..64 + rsdt.len()].copy_from_slice(&rsdt);
    area[PAGE as usize..PAGE as usize + madt.len()].copy_from_slice(&madt);

    zero_page(&mut pages[ZERO_PAGE], address(CMDLINE) as u32, address(ACPI));
}

/// A command of the mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Start at this address.
    Wake(u64),
    /// Acknowledge, to show that mini-ACRN controls the CPU.
    Test,
}

/// Held from the write of a command until its CPU is kicked, and while a CPU takes a command.
pub static MAILBOX_LOCK: Mutex<()> = Mutex::new(());

const WAKE: u16 = 1;
const TEST: u16 = 2;

fn field<T>(offset: usize) -> *mut T {
    (mailbox() as *mut u8).wrapping_add(offset).cast()
}

/// Applies a write of the Service VM to the mailbox. Returns the CPU that the command is for,
/// `None` if there is no command.
pub fn mailbox_write(offset: usize, data: &[u8]) -> Option<usize> {
    if offset + data.len() > PAGE as usize {
        return None;
    }
    for (i, b) in data.iter().enumerate() {
        // SAFETY: The byte is inside the mailbox page. CPUs read it only after the kick that
        // follows.
        unsafe { field::<u8>(offset + i).write_volatile(*b) };
    }
    // SAFETY: These are aligned fields of the mailbox.
    let (command, target) =
        unsafe { (field::<u16>(0).read_volatile(), field::<u32>(4).read_volatile()) };
    (command != 0).then(|| cpu::with_lapic_id(target as usize))?
}

/// Takes and acknowledges the command for CPU `id`, if there is one.
pub fn mailbox_take(id: usize) -> Option<Command> {
    // SAFETY: These are aligned fields of the mailbox.
    let (command, target, vector) = unsafe {
        (
            field::<u16>(0).read_volatile(),
            field::<u32>(4).read_volatile(),
            field::<u64>(8).read_volatile(),
        )
    };
    let taken = match command {
        WAKE => Command::Wake(vector),
        TEST => Command::Test,
        _ => return None,
    };
    if cpu::with_lapic_id(target as usize) != Some(id) {
        return None;
    }
    // SAFETY: This is an aligned field of the mailbox. Zero is the acknowledgement.
    unsafe { field::<u16>(0).write_volatile(0) };
    Some(taken)
}
