// SPDX-License-Identifier: GPL-2.0

//! Linux in a User VM, with acrn-vmm as its device model.

use std::{os::unix::process::ExitStatusExt, process::ExitCode, time::Duration};

use acrn_selftests::{
    cpus,
    harness::{self, Outcome, Test},
    need,
};
use nix::sys::signal::Signal;

use crate::machine::Machine;

mod machine;
mod minimal_guest;
mod resets;
mod virtio;

/// How long a boot may take. Emulated machines on loaded hosts are slow.
const LIMIT: Duration = Duration::from_secs(120);
/// How long a test may take: a boot, and what comes after it.
const TEST_LIMIT: u64 = LIMIT.as_secs() + 10;
/// How many times as long the one may take in which Linux resets twenty times. Not every boot is a slow one.
const RESET_LIMITS: u32 = 8;

/// Keeps the guest up.
const STAY: &str = "testbed.guest=stay";
/// Keeps it up until it is told otherwise.
const INTERACTIVE: &str = "testbed.guest=interactive";

fn main() -> ExitCode {
    harness::main(&[
        Test::new("triple_fault_ends", triple_fault_ends).within(TEST_LIMIT),
        Test::new("boots_and_powers_off", boots_and_powers_off).within(TEST_LIMIT),
        Test::new("driver_refuses_user_vm", driver_refuses_user_vm).within(TEST_LIMIT),
        Test::new("boots_with_two_vcpus", boots_with_two_vcpus).within(TEST_LIMIT),
        Test::new("boots_with_four_vcpus", boots_with_four_vcpus).within(TEST_LIMIT),
        Test::new("boots_from_huge_pages", boots_from_huge_pages).within(TEST_LIMIT),
        Test::new("ends_on_sigterm", ends_on_sigterm).within(TEST_LIMIT),
        Test::new("disk_is_read_and_written", virtio::disk_is_read_and_written).within(TEST_LIMIT),
        Test::new("two_disks", virtio::two_disks).within(TEST_LIMIT),
        Test::new("virtio_console_echoes", virtio::virtio_console_echoes).within(TEST_LIMIT),
        Test::new("kernel_on_virtio_console", virtio::kernel_on_virtio_console).within(TEST_LIMIT),
        Test::new("two_vms_side_by_side", virtio::two_vms_side_by_side).within(2 * TEST_LIMIT),
        Test::new("linux_resets", resets::linux_resets).within(RESET_LIMITS as u64 * TEST_LIMIT),
        Test::new("twenty_resets", resets::twenty_resets).within(TEST_LIMIT),
        Test::new("twenty_power_offs", resets::twenty_power_offs).within(TEST_LIMIT),
        // Upstream's driver is not the same afterwards: these come last.
        Test::new("killed_while_up", killed_while_up).within(TEST_LIMIT),
        Test::new("killed_while_booting", killed_while_booting).within(TEST_LIMIT),
    ])
}

fn boots(options: &[&str], cpus: &str) -> Outcome {
    let mut machine = need!(Machine::start(options, "", LIMIT));
    let word = machine.wait_until_up();
    assert!(word.contains(cpus), "{word}");
    machine.assert_ends_well();
    Outcome::Passed
}

/// A guest that shuts down asks for power-off again and again, and that ends acrn-vmm. On the CPU that acrn-vmm
/// chooses, and on one that it is given.
fn triple_fault_ends() -> Outcome {
    let cpus = format!("{:#x}", need!(cpus::pick(1)));
    for affinity in [None, Some(cpus.as_str())] {
        need!(minimal_guest::run_to_triple_fault(affinity));
    }
    Outcome::Passed
}

fn boots_and_powers_off() -> Outcome {
    boots(&[], "1 CPU")
}

/// The guest's init tries to load the driver that runs here: only the Service VM may.
fn driver_refuses_user_vm() -> Outcome {
    let mut machine = need!(Machine::start(&[], "", LIMIT));
    machine.wait_until_up();
    machine.wait_for("User VM: insmod acrn.ko: Operation not permitted");
    machine.assert_ends_well();
    Outcome::Passed
}

/// On CPUs that acrn-vmm chooses.
fn boots_with_two_vcpus() -> Outcome {
    need!(cpus::pick(2));
    boots(&["--cpus", "2"], "2 CPU")
}

fn boots_with_four_vcpus() -> Outcome {
    let cpus = format!("{:#x}", need!(cpus::pick(4)));
    boots(&["--cpu-affinity", &cpus], "4 CPU")
}

fn boots_from_huge_pages() -> Outcome {
    const MEMORY: i64 = 128;
    let free = acrn_selftests::leaks::free_huge_pages().unwrap_or(0);
    if free < MEMORY / 2 {
        acrn_selftests::skip!(
            "{free} huge pages of 2 MiB are free, the test needs {}",
            MEMORY / 2
        );
    }
    boots(&["--memory", "128M", "--hugepages"], "1 CPU")
}

fn ends_on_sigterm() -> Outcome {
    let mut machine = need!(Machine::start(&[], STAY, LIMIT));
    machine.wait_until_up();
    machine.signal(Signal::SIGTERM);
    machine.assert_ends_well();
    Outcome::Passed
}

fn killed_while_up() -> Outcome {
    let mut machine = need!(Machine::start(&[], STAY, LIMIT));
    machine.wait_until_up();
    machine.signal(Signal::SIGKILL);
    assert_eq!(machine.wait().signal(), Some(libc::SIGKILL));
    Outcome::Passed
}

/// In the middle of a lot of I/O.
fn killed_while_booting() -> Outcome {
    // Every line of the kernel's log is some hundred requests.
    let mut machine = need!(Machine::start(&[], "loglevel=7", LIMIT));
    machine.wait_for("Linux version");
    machine.signal(Signal::SIGKILL);
    assert_eq!(machine.wait().signal(), Some(libc::SIGKILL));
    Outcome::Passed
}
