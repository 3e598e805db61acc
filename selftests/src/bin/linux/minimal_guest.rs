// SPDX-License-Identifier: GPL-2.0

//! A guest that needs no time to boot.
//!
//! It initialises its disk, so that the driver has an ioeventfd and an irqfd. Then it waits for a
//! key, and resets or powers off.

use std::{env, fs, process};

use acrn_selftests::{program::assemble, waiter::until};
use iced_x86::{IcedError, code_asm::*};

use crate::{LIMIT, machine::Machine, virtio::Image};

/// The line that the guest prints after the initialisation of its disk.
const READY_LINE: &str = "disk is set up";
/// Load address of a flat binary.
const FLAT: u64 = 0x7c00;

const SERIAL: u32 = 0x3f8;
const LINE_STATUS: u32 = SERIAL + 5;
const DATA_READY: u32 = 1;
const PM_CONTROL: u32 = 0x404;
const POWER_OFF: u32 = 5 << 10 | 1 << 13;
const RESET_CONTROL: u32 = 0xcf9;
const RESET: u32 = 6;
const CONFIG_ADDRESS: u32 = 0xcf8;
const CONFIG_DATA: u32 = 0xcfc;

/// Guest address of a byte that counts the starts. A reset does not change memory.
const COUNTER: u64 = 0x5000;
/// Guest addresses of the GDT's limit and address, and of the GDT, which follows them.
const GDT_POINTER: u64 = 0x5010;
const GDT: u64 = 0x5018;
const IDT_POINTER: u64 = 0x5040;
/// Selector and descriptor of a data segment that covers all addresses.
const DATA: (u32, [u32; 2]) = (8, [0x0000_ffff, 0x00cf_9300]);
/// Guest address of the page directory. Its entries map two pages of 4 MiB: the first page of
/// memory, and the page with the disk's registers.
const PAGE_DIRECTORY: u64 = 0x8000;
const LARGE_PAGE: u32 = 0x83;
/// Guest addresses of the descriptors and rings of the disk's queue.
const DESCRIPTORS: u64 = 0x6000;
const AVAILABLE: u64 = 0x6100;
const USED: u64 = 0x6200;

/// Configuration addresses and values of the disk's command register and of its MSI-X control
/// register. The disk is PCI device 1.
const COMMAND: (u32, u32) = (0x8000_0804, 6);
const MSIX_CONTROL: (u32, u32) = (0x8000_0884, 1 << 31);
/// Guest address of the disk's registers, and offsets of registers.
const BAR: u64 = 0xc000_0000;
const STATUS: u64 = 0x14;
const DOORBELL: u64 = 0x1000;
const MSIX_TABLE: u64 = 0x2000;
/// Address and data of an MSI with a delivery mode that the hypervisor ignores.
const MESSAGE: (u32, u32) = (0xfee0_0000, 2 << 8);

const CR0_PROTECTION_AND_PAGING: u32 = 1 << 31 | 1;
const CR4_LARGE_PAGES: i32 = 1 << 4;

/// A write to a register of the disk: offset, number of bytes, value.
type Write = (u64, usize, u32);

/// The register writes by which a guest sets up the disk with a queue of 16 entries and an
/// interrupt.
const SETUP: [Write; 14] = [
    (MSIX_TABLE, 4, MESSAGE.0),
    (MSIX_TABLE + 8, 4, MESSAGE.1),
    (MSIX_TABLE + 12, 4, 0),
    // The guest accepts only the feature VIRTIO_F_VERSION_1.
    (0x08, 4, 1),
    (0x0c, 4, 1),
    (STATUS, 1, 0xb),
    (0x16, 2, 0),
    (0x18, 2, 16),
    (0x1a, 2, 0),
    (0x20, 4, DESCRIPTORS as u32),
    (0x28, 4, AVAILABLE as u32),
    (0x30, 4, USED as u32),
    (0x1c, 2, 1),
    (STATUS, 1, 0xf),
];

/// Enables protected mode with paging.
///
/// Without it, ACRN does not emulate instructions that access device registers. The code that
/// follows is still 16-bit code.
fn flat_addresses(code: &mut CodeAssembler) -> Result<(), IcedError> {
    code.xor(ax, ax)?;
    code.mov(ds, ax)?;
    let (selector, [low, high]) = DATA;
    code.mov(word_ptr(GDT_POINTER), selector + 7)?;
    code.mov(dword_ptr(GDT_POINTER + 2), GDT as u32)?;
    code.mov(dword_ptr(GDT + u64::from(selector)), low)?;
    code.mov(dword_ptr(GDT + u64::from(selector) + 4), high)?;
    code.lgdt(ptr(GDT_POINTER))?;
    for page in [0, BAR] {
        let entry = PAGE_DIRECTORY + 4 * (page >> 22);
        code.mov(dword_ptr(entry), page as u32 | LARGE_PAGE)?;
    }
    code.mov(eax, PAGE_DIRECTORY as u32)?;
    code.mov(cr3, eax)?;
    code.mov(eax, cr4)?;
    code.or(al, CR4_LARGE_PAGES)?;
    code.mov(cr4, eax)?;
    code.mov(eax, cr0)?;
    code.or(eax, CR0_PROTECTION_AND_PAGING)?;
    code.mov(cr0, eax)?;
    code.mov(ax, selector)?;
    code.mov(ds, ax)
}

fn configure(code: &mut CodeAssembler, (register, value): (u32, u32)) -> Result<(), IcedError> {
    for (port, value) in [(CONFIG_ADDRESS, register), (CONFIG_DATA, value)] {
        code.mov(dx, port)?;
        code.mov(eax, value)?;
        code.out(dx, eax)?;
    }
    Ok(())
}

fn write(code: &mut CodeAssembler, (offset, bytes, value): Write) -> Result<(), IcedError> {
    code.mov(ebx, (BAR + offset) as u32)?;
    match bytes {
        1 => code.mov(byte_ptr(ebx), value),
        2 => code.mov(word_ptr(ebx), value),
        _ => code.mov(dword_ptr(ebx), value),
    }
}

/// Initialises the disk. Its queue contains an empty request, which the device model completes with
/// an interrupt.
fn set_disk_up(code: &mut CodeAssembler) -> Result<(), IcedError> {
    configure(code, COMMAND)?;
    configure(code, MSIX_CONTROL)?;
    // The available ring has one entry, with descriptor 0.
    code.mov(dword_ptr(AVAILABLE), 1u32 << 16)?;
    for access in SETUP {
        write(code, access)?;
    }
    write(code, (DOORBELL, 2, 0))
}

fn say(code: &mut CodeAssembler, line: &str) -> Result<(), IcedError> {
    code.mov(dx, SERIAL)?;
    for byte in line.bytes().chain(*b"\n") {
        code.mov(al, u32::from(byte))?;
        code.out(dx, al)?;
    }
    Ok(())
}

fn wait_for_key(code: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = code.create_label();
    code.mov(dx, LINE_STATUS)?;
    code.set_label(&mut again)?;
    code.in_(al, dx)?;
    code.test(al, DATA_READY)?;
    code.jz(again)?;
    code.mov(dx, SERIAL)?;
    code.in_(al, dx)
}

/// Returns a program that causes a triple fault, by an invalid opcode and an interrupt descriptor
/// table without entries.
fn triple_fault() -> Vec<u8> {
    assemble(16, FLAT, |code| {
        code.xor(ax, ax)?;
        code.mov(ds, ax)?;
        say(code, READY_LINE)?;
        code.mov(word_ptr(IDT_POINTER), 0u32)?;
        code.lidt(ptr(IDT_POINTER))?;
        code.ud2()
    })
}

/// Returns a program that starts `times` times and then powers off. Each start but the first
/// follows a reset.
fn program(times: u8) -> Vec<u8> {
    assemble(16, FLAT, |code| {
        let mut off = code.create_label();
        flat_addresses(code)?;
        set_disk_up(code)?;
        say(code, READY_LINE)?;
        wait_for_key(code)?;
        code.inc(byte_ptr(COUNTER))?;
        code.cmp(byte_ptr(COUNTER), u32::from(times))?;
        code.jae(off)?;
        code.mov(al, RESET)?;
        code.mov(dx, RESET_CONTROL)?;
        code.out(dx, al)?;
        code.hlt()?;
        code.set_label(&mut off)?;
        code.mov(ax, POWER_OFF)?;
        code.mov(dx, PM_CONTROL)?;
        code.out(dx, ax)?;
        code.hlt()
    })
}

/// Runs a guest that starts `times` times.
///
/// Fails with the reason for skipping the test.
pub fn run(image: &Image, times: u8) -> Result<(), String> {
    let file = format!("{}.bin", image.path());
    fs::write(&file, program(times)).expect("write the guest's program");
    let options = ["--flat", &file, "--disk", image.path(), "--memory", "2M"];
    let machine = Machine::run(&options, LIMIT);
    let outcome = machine.map(|mut machine| {
        let mut files = Vec::new();
        for _ in 0..times {
            machine.wait_for(READY_LINE);
            // The device model may still be assigning the irqfd.
            until("the VM has one ioeventfd and one irqfd", || {
                machine.eventfds().is_none_or(|eventfds| eventfds == (1, 1))
            });
            files.push(machine.open_files());
            machine.enter("");
        }
        machine.assert_ends_well();
        // The device model has one file more while its thread that serves requests exists.
        let most = files.iter().max().copied().unwrap_or(0);
        assert!(files.iter().all(|count| most - count <= 1), "{files:?}");
    });
    let _ = fs::remove_file(file);
    outcome
}

/// Runs a guest with a triple fault, on the physical CPUs `affinity`, or on CPUs that acrn-vmm
/// chooses.
///
/// The device model ends as after a power-off.
pub fn run_to_triple_fault(affinity: Option<&str>) -> Result<(), String> {
    let file = env::temp_dir().join(format!("linux-{}-shutdown.bin", process::id()));
    fs::write(&file, triple_fault()).expect("write the guest's program");
    let name = file.to_str().expect("a path in UTF-8");
    let mut options = vec!["--flat", name, "--memory", "2M"];
    options.extend(affinity.iter().flat_map(|mask| ["--cpu-affinity", mask]));
    let machine = Machine::run(&options, LIMIT);
    let outcome = machine.map(|mut machine| {
        machine.wait_for(READY_LINE);
        machine.wait_for("acrn-vmm: the guest powered off");
        machine.assert_ends_well();
    });
    let _ = fs::remove_file(file);
    outcome
}
