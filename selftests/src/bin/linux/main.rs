// SPDX-License-Identifier: GPL-2.0

//! Tests of Linux in a User VM, with acrn-vmm as its device model.

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

/// Time limit of a boot. Emulated machines are slow on loaded hosts.
const LIMIT: Duration = Duration::from_secs(120);
/// Time limit of a test in seconds. It covers a boot and the steps after it.
const TEST_LIMIT: u64 = LIMIT.as_secs() + 10;
/// Factor for the time limit of the test in which Linux resets twenty times. It is less than twenty
/// because only some of the boots are slow.
const RESET_LIMITS: u32 = 8;

/// Command line that makes init of the User VM keep the guest running.
const STAY: &str = "testbed.guest=stay";
/// Command line that makes init of the User VM keep the guest running until a command is typed.
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
        // These tests damage the state of upstream's driver, so they come last.
        killed_while_up.within(TEST_LIMIT),
        killed_while_booting.within(TEST_LIMIT),
    ])
}

fn boots(options: &[&str], cpus: &str) -> Outcome {
    let mut machine = need!(Machine::start(options, "", LIMIT));
    let line = machine.wait_until_up();
    assert!(line.contains(cpus), "{line}");
    machine.assert_ends_well();
    Outcome::Passed
}

/// The device model ends when a guest with a triple fault requests power-off repeatedly.
///
/// The guest runs on a CPU that acrn-vmm chooses, and on a given CPU.
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

/// The driver fails to load in the User VM, where the guest's init tries to load it. It loads only
/// in the Service VM.
fn driver_refuses_user_vm() -> Outcome {
    let mut machine = need!(Machine::start(&[], "", LIMIT));
    machine.wait_until_up();
    machine.wait_for("User VM: insmod acrn.ko: Operation not permitted");
    machine.assert_ends_well();
    Outcome::Passed
}

/// Linux boots on two CPUs that acrn-vmm chooses.
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

/// Killing the device model during intensive I/O leaves no resources behind.
fn killed_while_booting() -> Outcome {
    // Each line of the kernel's log causes about a hundred requests.
    let mut machine = need!(Machine::start(&[], "loglevel=7", LIMIT));
    machine.wait_for("Linux version");
    machine.signal(Signal::SIGKILL);
    assert_eq!(machine.wait().signal(), Some(libc::SIGKILL));
    Outcome::Passed
}
