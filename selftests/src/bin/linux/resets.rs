// SPDX-License-Identifier: GPL-2.0

//! Guests that reset and power off, again and again: nothing may pile up.

use acrn_selftests::{cpus, event::Event, harness::Outcome, heap::Heap, need};

use crate::{INTERACTIVE, LIMIT, RESET_LIMITS, flat, machine::Machine, virtio::Image};

/// How often a guest resets, in each of two halves.
const RESETS: u8 = 10;
/// How many VMs come and go in each half.
const POWER_OFFS: u8 = 10;
/// How many objects of one size a half may not leave: nearly as many as there are rounds, for some come and go with
/// other things.
const NOTICED: i64 = 8;

/// The lowest number that is free for an eventfd: it grows if eventfds are never given back, by whom ever.
fn free_number() -> u32 {
    Event::new().id()
}

/// Looks at the kernel's heap after each half. Others use it as well, now and then for good; what guests leave grows
/// in both.
struct Growth {
    heap: Option<Heap>,
    halves: Vec<Option<String>>,
}

impl Growth {
    fn start() -> Self {
        Self {
            heap: Heap::count().ok(),
            halves: Vec::new(),
        }
    }

    /// A half is over.
    fn look(&mut self) {
        let heap = self.heap.take();
        self.halves.push(heap.and_then(|heap| heap.growth(NOTICED)));
        self.heap = Heap::count().ok();
    }

    fn assert_none(self) {
        assert!(self.halves.iter().any(Option::is_none), "{:?}", self.halves);
    }
}

/// Waits until Linux is up and uses its devices; returns how many files the device model has open then.
fn wait_until_ready(machine: &mut Machine) -> usize {
    let line = machine.wait_until_up();
    assert!(line.contains("2 CPU"), "{line}");
    machine.wait_for("bytes read and written");
    machine.wait_for("User VM: type something");
    if let Some((doorbells, interrupts)) = machine.eventfds() {
        assert!(
            doorbells > 0 && interrupts > 0,
            "{doorbells} ioeventfds, {interrupts} irqfds"
        );
    }
    machine.open_files()
}

/// Linux with all its devices: doorbells and interrupts are assigned anew each time.
pub fn linux_resets() -> Outcome {
    need!(cpus::pick(2));
    let number = free_number();
    let image = Image::new(5);
    let options = ["--cpus", "2", "--disk", image.path(), "--console", "virtio"];
    let more = format!("testbed.console=hvc0 {INTERACTIVE}");
    let mut machine = need!(Machine::start(&options, &more, LIMIT * RESET_LIMITS));
    let mut files = Vec::new();
    files.push(wait_until_ready(&mut machine));
    let mut growth = Growth::start();
    for _ in 0..2 {
        for _ in 0..RESETS {
            machine.enter("reboot");
            files.push(wait_until_ready(&mut machine));
        }
        growth.look();
    }
    machine.enter("poweroff");
    machine.assert_ends_well();
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]), "{files:?}");
    image.verify();
    growth.assert_none();
    assert_eq!(free_number(), number, "eventfds are left");
    Outcome::Passed
}

/// Runs a flat guest that comes up `times`, `runs` times in each half.
fn flat_guests(seed: u64, runs: u8, times: u8) -> Outcome {
    let number = free_number();
    let image = Image::new(seed);
    let mut growth = Growth::start();
    for _ in 0..2 {
        for _ in 0..runs {
            need!(flat::run(&image, times));
        }
        growth.look();
    }
    growth.assert_none();
    assert_eq!(free_number(), number, "eventfds are left");
    Outcome::Passed
}

pub fn twenty_resets() -> Outcome {
    flat_guests(6, 1, 1 + RESETS)
}

pub fn twenty_power_offs() -> Outcome {
    flat_guests(7, POWER_OFFS, 1)
}
