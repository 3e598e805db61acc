// SPDX-License-Identifier: GPL-2.0

//! Guests that reset and power off, again and again: nothing may pile up.

use std::{
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use acrn_selftests::{harness::Outcome, need};
use iced_x86::{IcedError, code_asm::*};

use crate::{INTERACTIVE, LIMIT, machine::Machine, virtio::Image};

/// How often Linux resets.
const LINUX_RESETS: usize = 5;
/// How often a guest does that takes no time to boot.
const FLAT_RESETS: u8 = 20;
/// How many VMs come and go.
const POWER_OFFS: usize = 20;

/// Where a flat binary is loaded.
const FLAT: u64 = 0x7c00;
/// A byte of memory that a reset leaves alone.
const COUNTER: u64 = 0x5000;
const SERIAL: u32 = 0x3f8;
const PM_CONTROL: u32 = 0x604;
const POWER_OFF: u32 = 5 << 10 | 1 << 13;
const RESET_CONTROL: u32 = 0xcf9;
const RESET: u32 = 6;

/// The number of a new eventfd. The kernel gives the lowest that is free: it grows if some are never given
/// back, by whom ever.
fn eventfd_number() -> u64 {
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    assert!(fd >= 0, "no eventfd");
    // SAFETY: a new descriptor, which nobody else owns.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let info = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let info = fs::read_to_string(info).expect("fdinfo");
    let number = info
        .lines()
        .find_map(|line| line.strip_prefix("eventfd-id:"));
    number
        .and_then(|n| n.trim().parse().ok())
        .expect("a number")
}

/// Says `line` on the serial port, and resets until it has done so `times`; then it powers off.
fn flat_guest(line: &str, times: u8) -> Vec<u8> {
    let emit = |code: &mut CodeAssembler| -> Result<(), IcedError> {
        let mut off = code.create_label();
        for byte in line.bytes().chain(*b"\n") {
            code.mov(al, u32::from(byte))?;
            code.mov(dx, SERIAL)?;
            code.out(dx, al)?;
        }
        code.xor(ax, ax)?;
        code.mov(ds, ax)?;
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
    };
    let mut code = CodeAssembler::new(16).expect("an assembler");
    emit(&mut code).expect("a program that assembles");
    code.assemble(FLAT).expect("a program that assembles")
}

/// Runs a flat guest with a disk and a virtio console.
fn run_flat(image: &Image, times: u8) -> Result<(), String> {
    let file = format!("{}.bin", image.path());
    fs::write(&file, flat_guest("here I am", times)).expect("a file for the guest");
    let options = ["--flat", &file, "--disk", image.path(), "--memory", "2M"];
    let options = [&options[..], &["--console", "virtio"]].concat();
    let machine = Machine::run(&options, LIMIT);
    let outcome = machine.map(|mut machine| {
        let mut files = Vec::new();
        for _ in 0..times {
            machine.wait_for("here I am");
            files.push(machine.open_files());
        }
        machine.assert_ends_well();
        // The last one may be that of a machine about to end.
        files.pop();
        // One is that of the thread which serves requests, and comes and goes with it.
        let most = files.iter().max().copied().unwrap_or(0);
        assert!(files.iter().all(|count| most - count <= 1), "{files:?}");
    });
    let _ = fs::remove_file(file);
    outcome
}

/// Linux with all its devices: doorbells and interrupts are assigned anew each time.
pub fn linux_resets() -> Outcome {
    let number = eventfd_number();
    let image = Image::new(5);
    let options = ["--cpus", "2", "--disk", image.path(), "--console", "virtio"];
    let more = format!("testbed.console=hvc0 {INTERACTIVE}");
    let mut machine = need!(Machine::start(&options, &more, LIMIT * 3));
    let mut files = Vec::new();
    for reset in 0..=LINUX_RESETS {
        let line = machine.wait_until_up();
        assert!(line.contains("2 CPU"), "{line}");
        machine.wait_for("bytes read and written");
        machine.wait_for("User VM: type something");
        files.push(machine.open_files());
        let last = reset == LINUX_RESETS;
        machine.enter(if last { "poweroff" } else { "reboot" });
    }
    machine.assert_ends_well();
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]), "{files:?}");
    image.verify();
    assert_eq!(eventfd_number(), number, "eventfds are left");
    Outcome::Passed
}

pub fn twenty_resets() -> Outcome {
    let number = eventfd_number();
    need!(run_flat(&Image::new(6), FLAT_RESETS));
    assert_eq!(eventfd_number(), number, "eventfds are left");
    Outcome::Passed
}

pub fn twenty_power_offs() -> Outcome {
    let number = eventfd_number();
    let image = Image::new(7);
    for _ in 0..POWER_OFFS {
        need!(run_flat(&image, 1));
    }
    assert_eq!(eventfd_number(), number, "eventfds are left");
    Outcome::Passed
}
