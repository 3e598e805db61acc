// SPDX-License-Identifier: GPL-2.0

//! Tests of guests that reset and power off repeatedly. The number of resources does not grow.

use acrn_selftests::{
    cpus, eventfd::Eventfd, harness::Outcome, need, objects::Objects, waiter::until,
};

use crate::{INTERACTIVE, LIMIT, RESET_LIMITS, machine::Machine, minimal_guest, virtio::Image};

/// Number of resets of a guest.
const RESETS: u8 = 20;
/// Number of VMs that are created and destroyed one after the other.
const POWER_OFFS: u8 = 20;
/// Returns the lowest free ID of an eventfd, which grows if eventfds are not released.
fn free_number() -> u32 {
    Eventfd::new().id()
}

/// Waits until Linux runs and has used its devices: the device model assigns an irqfd when a device
/// first interrupts. Returns the number of files that the device model has open.
fn wait_until_ready(machine: &mut Machine) -> usize {
    let line = machine.wait_until_up();
    assert!(line.contains("2 CPU"), "{line}");
    machine.wait_for("bytes read and written");
    machine.wait_for("User VM: type something");
    machine.enter("hello");
    machine.wait_for("User VM: hello");
    if let Some((doorbells, interrupts)) = machine.eventfds() {
        assert!(
            doorbells > 0 && interrupts > 0,
            "{doorbells} ioeventfds, {interrupts} irqfds"
        );
    }
    machine.open_files()
}

/// Linux that resets twenty times accumulates neither objects of the driver nor open files.
///
/// The guest has all devices, whose ioeventfds and irqfds are assigned again after each reset.
pub fn linux_resets() -> Outcome {
    need!(cpus::pick(2));
    let number = free_number();
    let image = Image::new(5);
    let options = ["--cpus", "2", "--disk", image.path(), "--console", "virtio"];
    let more = format!("testbed.console=hvc0 {INTERACTIVE}");
    let mut machine = need!(Machine::start(&options, &more, LIMIT * RESET_LIMITS));
    let mut files = Vec::new();
    files.push(wait_until_ready(&mut machine));
    let objects = Objects::count().ok();
    for _ in 0..RESETS {
        machine.enter("reboot");
        files.push(wait_until_ready(&mut machine));
    }
    if let Some(before) = objects {
        let mut seen = Vec::new();
        // A request may still be in flight.
        until("no more objects exist than after the first boot", || {
            let after = Objects::count().expect("the driver's counts of objects");
            let growth = before.growth(&after);
            if seen != growth {
                eprintln!("more objects: {growth:?}");
                seen = growth;
            }
            seen.is_empty()
        });
    }
    machine.enter("poweroff");
    machine.assert_ends_well();
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]), "{files:?}");
    image.verify();
    assert_eq!(free_number(), number, "lowest free ID of an eventfd");
    Outcome::Passed
}

/// Runs `runs` guests one after the other, each of which starts `times` times.
fn flat_guests(seed: u64, runs: u8, times: u8) -> Outcome {
    let number = free_number();
    let image = Image::new(seed);
    for _ in 0..runs {
        need!(minimal_guest::run(&image, times));
    }
    assert_eq!(free_number(), number, "lowest free ID of an eventfd");
    Outcome::Passed
}

/// A guest that resets twenty times accumulates neither open files nor eventfds.
pub fn twenty_resets() -> Outcome {
    flat_guests(6, 1, 1 + RESETS)
}

/// Twenty guests that power off one after the other leave no eventfds behind.
pub fn twenty_power_offs() -> Outcome {
    flat_guests(7, POWER_OFFS, 1)
}
