// SPDX-License-Identifier: GPL-2.0

//! Linux in a User VM, with acrn-vmm as its device model.

use std::{os::unix::process::ExitStatusExt, process::ExitCode, time::Duration};

use acrn_selftests::{
    cpus,
    harness::{self, Outcome},
    need, tests,
};
use nix::sys::signal::Signal;

use crate::machine::Machine;

mod machine;
mod minimal_guest;
mod resets;
mod virtio;

/// Time limit of a boot. Emulated machines on loaded hosts are slow.
const LIMIT: Duration = Duration::from_secs(120);
/// Time limit of a test in seconds: a boot, and the steps after it.
const TEST_LIMIT: u64 = LIMIT.as_secs() + 10;
/// Factor for the limit of the test in which Linux resets twenty times. Not every boot is slow.
const RESET_LIMITS: u32 = 8;

/// Keeps the guest running.
const STAY: &str = "testbed.guest=stay";
/// Keeps the guest running until a command is typed.
const INTERACTIVE: &str = "testbed.guest=interactive";

fn main() -> ExitCode {
    harness::main(&tests![
        triple_fault_ends.within(TEST_LIMIT),
        boots_and_powers_off.within(TEST_LIMIT),
        driver_refuses_user_vm.within(TEST_LIMIT),
        boots_with_two_vcpus.within(TEST_LIMIT),
        boots_with_four_vcpus.within(TEST_LIMIT),
        boots_from_huge_pages.within(TEST_LIMIT),
        ends_on_sigterm.within(TEST_LIMIT),
        virtio::disk_is_read_and_written.within(TEST_LIMIT),
        virtio::two_disks.within(TEST_LIMIT),
        virtio::virtio_console_echoes.within(TEST_LIMIT),
        virtio::kernel_on_virtio_console.within(TEST_LIMIT),
        virtio::two_vms_side_by_side.within(2 * TEST_LIMIT),
        resets::linux_resets.within(RESET_LIMITS as u64 * TEST_LIMIT),
        resets::twenty_resets.within(TEST_LIMIT),
        resets::twenty_power_offs.within(TEST_LIMIT),
        // These tests leave a damaged state in upstream's driver, so they come last.
        killed_while_up.within(TEST_LIMIT),
        killed_while_booting.within(TEST_LIMIT),
    ])
}

fn boots(options: &[&str], cpus: &str) -> Outcome {
    let mut machine = need!(Machine::start(options, "", LIMIT));
    let word = machine.wait_until_up();
    assert!(word.contains(cpus), "{word}");
    machine.assert_ends_well();
    Outcome::Passed
}

/// A guest with a triple fault requests power-off repeatedly, which ends acrn-vmm. Runs on a CPU
/// that acrn-vmm chooses, and on a given one.
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

/// The guest's init tries to load the driver that runs here, which only loads in the Service VM.
fn driver_refuses_user_vm() -> Outcome {
    let mut machine = need!(Machine::start(&[], "", LIMIT));
    machine.wait_until_up();
    machine.wait_for("User VM: insmod acrn.ko: Operation not permitted");
    machine.assert_ends_well();
    Outcome::Passed
}

/// acrn-vmm chooses the CPUs.
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

/// Kills the device model during intensive I/O.
fn killed_while_booting() -> Outcome {
    // Every line of the kernel's log makes some hundred requests.
    let mut machine = need!(Machine::start(&[], "loglevel=7", LIMIT));
    machine.wait_for("Linux version");
    machine.signal(Signal::SIGKILL);
    assert_eq!(machine.wait().signal(), Some(libc::SIGKILL));
    Outcome::Passed
}
