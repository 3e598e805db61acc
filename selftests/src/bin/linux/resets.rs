// SPDX-License-Identifier: GPL-2.0

//! Guests that reset and power off, again and again: nothing may pile up.

use acrn_selftests::{cpus, event::Event, harness::Outcome, heap::Heap, need};

use crate::{INTERACTIVE, LIMIT, RESET_LIMITS, flat, machine::Machine, virtio::Image};

/// How often a guest resets.
const RESETS: u8 = 20;
/// How many VMs come and go.
const POWER_OFFS: u8 = 20;
/// How many objects of one size they may not leave together: nearly as many as there are rounds, for some come
/// and go with other things.
const NOTICED: i64 = 15;

/// Runs guests that come up and go, and looks at what they leave: eventfds, and objects in the kernel's heap.
fn leaving_nothing(guests: impl FnOnce() -> Outcome) -> Outcome {
    // The lowest number that is free: it grows if eventfds are never given back, by whom ever.
    let number = Event::new().id();
    let heap = Heap::count();
    let outcome = guests();
    if matches!(outcome, Outcome::Passed) {
        assert_eq!(Event::new().id(), number, "eventfds are left");
        if let Ok(heap) = heap {
            heap.assert_not_grown_by(NOTICED);
        }
    }
    outcome
}

/// Linux with all its devices: doorbells and interrupts are assigned anew each time.
pub fn linux_resets() -> Outcome {
    need!(cpus::pick(2));
    leaving_nothing(|| {
        let image = Image::new(5);
        let options = ["--cpus", "2", "--disk", image.path(), "--console", "virtio"];
        let more = format!("testbed.console=hvc0 {INTERACTIVE}");
        let mut machine = need!(Machine::start(&options, &more, LIMIT * RESET_LIMITS));
        let mut files = Vec::new();
        for reset in 0..=RESETS {
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
            files.push(machine.open_files());
            let last = reset == RESETS;
            machine.enter(if last { "poweroff" } else { "reboot" });
        }
        machine.assert_ends_well();
        assert!(files.windows(2).all(|pair| pair[0] == pair[1]), "{files:?}");
        image.verify();
        Outcome::Passed
    })
}

pub fn twenty_resets() -> Outcome {
    let image = Image::new(6);
    leaving_nothing(|| {
        need!(flat::run(&image, 1 + RESETS));
        Outcome::Passed
    })
}

pub fn twenty_power_offs() -> Outcome {
    let image = Image::new(7);
    leaving_nothing(|| {
        for _ in 0..POWER_OFFS {
            need!(flat::run(&image, 1));
        }
        Outcome::Passed
    })
}
