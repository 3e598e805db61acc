// SPDX-License-Identifier: GPL-2.0

//! Tests of accesses that signal an eventfd, and of accesses that the driver leaves to the device
//! model.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    eventfd::Eventfd,
    harness::Outcome,
    need,
    program::{read, write},
    scripted_vm::{Answer, ScriptedVm, request, sized},
};

use crate::range::{ADDRESS, PORT, WIDTHS, assign, assigned, range};

const WRITTEN: Answer = Answer::Driver(None);
const ZERO: Answer = Answer::Driver(Some(0));

fn beyond(target: Target, offset: u64) -> Target {
    match target {
        Target::Port(port) => Target::Port(port + offset as u16),
        Target::Memory(address) => Target::Memory(address + offset),
        other => other,
    }
}

/// Accesses of each width to the start of a range of each length signal the eventfd if they are
/// inside the range. Wider accesses go to the device model.
pub fn each_length_and_width() -> Outcome {
    let vm = need!(ScriptedVm::new());
    for len in WIDTHS {
        for target in [PORT, ADDRESS] {
            let target = beyond(target, 0x100 * len.bytes());
            let event = assigned(&vm.device, range(target, len as u32));
            for width in WIDTHS {
                if width == Width::Eight && matches!(target, Target::Port(_)) {
                    continue;
                }
                let inside = width.bytes() <= len.bytes();
                let (written, was_read) = (
                    vm.ask(write(target, width, 0x1122_3344_5566_7788)),
                    vm.ask(read(target, width)),
                );
                let expected = match inside {
                    true => (WRITTEN, ZERO),
                    false => (Answer::DeviceModel, Answer::DeviceModel),
                };
                assert_eq!((written, was_read), expected, "{width:?} of {len:?}");
                assert_eq!(event.take(), u64::from(inside), "{width:?} of {len:?}");
            }
        }
    }
    Outcome::Passed
}

/// The driver completes an access inside a range, but not at its start, without a signal. An access
/// that overlaps the range without being inside it goes to the device model.
pub fn inside_and_partly_inside() -> Outcome {
    let vm = need!(ScriptedVm::new());
    for target in [PORT, ADDRESS] {
        let event = assigned(&vm.device, range(target, 8));
        for (offset, width) in [(1, 1), (2, 2), (4, 4), (7, 1), (6, 2), (3, 4)] {
            let width = Width::from_bytes(width).expect("a valid width");
            let at = beyond(target, offset);
            assert_eq!(vm.ask(write(at, width, 0)), WRITTEN, "at {offset}");
            assert_eq!(vm.ask(read(at, width)), ZERO, "at {offset}");
        }
        for (offset, width) in [(7, 2), (5, 4), (8, 1)] {
            let width = Width::from_bytes(width).expect("a valid width");
            let at = beyond(target, offset);
            let answers = (vm.ask(write(at, width, 0)), vm.ask(read(at, width)));
            let expected = (Answer::DeviceModel, Answer::DeviceModel);
            assert_eq!(answers, expected, "at {offset}");
        }
        assert_eq!(event.take(), 0);
    }
    // The access begins before the range.
    let before = Target::Port(0x50e);
    let answer = vm.ask(write(before, Width::Four, 0));
    assert_eq!(answer, Answer::DeviceModel);
    Outcome::Passed
}

/// If ranges with different starts overlap, a write signals only the range that starts at its
/// address.
pub fn overlapping_ranges() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let long = assigned(&vm.device, range(ADDRESS, 8));
    let short = assigned(&vm.device, range(beyond(ADDRESS, 4), 4));
    let cases = [
        (0, Width::Eight, (1, 0)),
        (0, Width::Four, (1, 0)),
        (4, Width::Four, (0, 1)),
        (4, Width::One, (0, 1)),
        (6, Width::Two, (0, 0)),
    ];
    for (offset, width, signals) in cases {
        let answer = vm.ask(write(beyond(ADDRESS, offset), width, 0));
        assert_eq!(answer, WRITTEN, "{width:?} at {offset}");
        let seen = (long.take(), short.take());
        assert_eq!(seen, signals, "{width:?} at {offset}");
    }
    // The access is inside their union, but inside neither range.
    let partly = vm.ask(write(beyond(ADDRESS, 2), Width::Eight, 0));
    assert_eq!(partly, Answer::DeviceModel);
    Outcome::Passed
}

/// If a range is inside another one, the outer range still handles accesses to its other parts.
pub fn range_inside_another() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let long = assigned(&vm.device, range(ADDRESS, 8));
    let short = assigned(&vm.device, range(beyond(ADDRESS, 2), 1));
    for (offset, width, signals) in [
        (2, Width::One, (0, 1)),
        (3, Width::One, (0, 0)),
        (4, Width::Four, (0, 0)),
        (6, Width::Two, (0, 0)),
        (0, Width::Eight, (1, 0)),
    ] {
        let at = beyond(ADDRESS, offset);
        assert_eq!(vm.ask(write(at, width, 0)), WRITTEN, "at {offset}");
        assert_eq!(vm.ask(read(at, width)), ZERO, "at {offset}");
        assert_eq!((long.take(), short.take()), signals, "at {offset}");
    }
    // The access is inside the outer range, but wider than the inner one.
    let answer = vm.ask(write(beyond(ADDRESS, 2), Width::Four, 0));
    assert_eq!((answer, short.take()), (WRITTEN, 0));
    Outcome::Passed
}

/// If two ranges overlap, the driver completes an access inside the second one even if it extends
/// beyond the first one.
pub fn partly_overlapping_ranges() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let first = assigned(&vm.device, range(ADDRESS, 4));
    let second = assigned(&vm.device, range(beyond(ADDRESS, 2), 4));
    for (offset, width, signals) in [
        (2, Width::Four, (0, 1)),
        (2, Width::Two, (0, 1)),
        (4, Width::Two, (0, 0)),
        (0, Width::Four, (1, 0)),
    ] {
        let answer = vm.ask(write(beyond(ADDRESS, offset), width, 0));
        assert_eq!(answer, WRITTEN, "{width:?} at {offset}");
        let seen = (first.take(), second.take());
        assert_eq!(seen, signals, "{width:?} at {offset}");
    }
    Outcome::Passed
}

/// A port and an address with the same number are different targets.
pub fn port_is_no_address() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let port = assigned(&vm.device, range(PORT, 4));
    let same_number = Target::Memory(0x510);
    let answer = vm.ask(write(same_number, Width::Four, 0));
    assert_eq!(answer, Answer::DeviceModel);
    let address = assigned(&vm.device, range(same_number, 4));
    assert_eq!(vm.ask(write(same_number, Width::Four, 0)), WRITTEN);
    assert_eq!((port.take(), address.take()), (0, 1));
    assert_eq!(vm.ask(write(PORT, Width::Four, 0)), WRITTEN);
    assert_eq!((port.take(), address.take()), (1, 0));
    Outcome::Passed
}

/// Only writes of the right value signal. The driver completes others without a signal.
pub fn data_match() -> Outcome {
    let vm = need!(ScriptedVm::new());
    for target in [PORT, ADDRESS] {
        let event = assigned(&vm.device, range(target, 4).with(0x0102_0304));
        for (value, signals) in [
            (0x0102_0304, 1),
            (0x0102_0305, 0),
            (0, 0),
            (0xffff_ffff, 0),
            (0x0102_0304, 1),
        ] {
            let answer = vm.ask(write(target, Width::Four, value));
            assert_eq!(answer, WRITTEN, "{value:#x}");
            assert_eq!(event.take(), signals, "{value:#x}");
        }
        assert_eq!(vm.ask(read(target, Width::Four)), ZERO);
        assert_eq!(event.take(), 0);
    }
    Outcome::Passed
}

/// The driver compares all bits of a 64-bit value.
pub fn data_of_64_bits() -> Outcome {
    const DATA: u64 = 0x8182_8384_0102_0304;
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(ADDRESS, 8).with(DATA));
    for (value, signals) in [
        (DATA, 1),
        // The low half is equal.
        (DATA & 0xffff_ffff, 0),
        (DATA ^ 1 << 32, 0),
        (DATA ^ 1 << 63, 0),
        // The high half is equal.
        (DATA ^ 1, 0),
        (DATA ^ 1 << 31, 0),
        (DATA, 1),
    ] {
        assert_eq!(vm.ask(write(ADDRESS, Width::Eight, value)), WRITTEN);
        assert_eq!(event.take(), signals, "{value:#x}");
    }
    Outcome::Passed
}

/// Without the flag, the driver ignores the value.
pub fn data_without_flag() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    let mut argument = range(PORT, 4).argument(&event);
    argument.data = 7;
    crate::range::ioeventfd(&vm.device, argument).expect("IOEVENTFD");
    assert_eq!(vm.ask(write(PORT, Width::Four, 8)), WRITTEN);
    assert_eq!(event.take(), 1);
    Outcome::Passed
}

/// The driver ignores the bits beyond the width of the access, both in the value of the range and
/// in the slot (A16).
pub fn data_match_is_masked() -> Outcome {
    let vm = need!(ScriptedVm::new());
    for target in [PORT, ADDRESS] {
        for width in [Width::One, Width::Two, Width::Four] {
            let low = 0x8182_8384 & width.mask();
            let high = 0x5a5a_5a5a_5a5a_5a5a & !width.mask();
            let target = beyond(target, 0x10 * width.bytes());
            let event = assigned(&vm.device, range(target, width as u32).with(low | high));
            for value in [low, low | !width.mask(), low | high] {
                let answer = vm.ask(write(target, width, value));
                assert_eq!(answer, WRITTEN);
                assert_eq!(event.take(), 1, "{width:?} of {value:#x} to {target:x?}");
            }
            assert_eq!(vm.ask(write(target, width, (low ^ 1) | high)), WRITTEN);
            assert_eq!(event.take(), 0, "{width:?}");
        }
    }
    // The access is narrower than the range.
    let narrow = Target::Memory(0xd000_1000);
    let event = assigned(&vm.device, range(narrow, 8).with(0x1234_5678));
    assert_eq!(vm.ask(write(narrow, Width::Two, 0x5678)), WRITTEN);
    assert_eq!(event.take(), 1);
    assert_eq!(vm.ask(write(narrow, Width::Two, 0x1234)), WRITTEN);
    assert_eq!(event.take(), 0);
    Outcome::Passed
}

/// A narrow write to a wide range with many values signals each eventfd whose value has the same
/// low bytes, in any order of assignment.
pub fn narrow_write_to_many_values() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let values = [0x0101, 0x0205, 0x0301, 0x0405, 0x0505];
    for target in [PORT, ADDRESS] {
        let events = values.map(|value| assigned(&vm.device, range(target, 4).with(value)));
        for (width, value, expected) in [
            (Width::One, 5, [0, 1, 0, 1, 1]),
            (Width::One, 1, [1, 0, 1, 0, 0]),
            (Width::One, 2, [0; 5]),
            (Width::Two, 0x0405, [0, 0, 0, 1, 0]),
            (Width::Two, 5, [0; 5]),
            (Width::Four, 0x0205, [0, 1, 0, 0, 0]),
        ] {
            assert_eq!(vm.ask(write(target, width, value)), WRITTEN);
            let signals = events.each_ref().map(Eventfd::take);
            assert_eq!(signals, expected, "{width:?} of {value:#x}");
        }
    }
    // An eventfd may have several such values. It is signalled for each.
    let target = Target::Memory(0xd000_2000);
    let event = assigned(&vm.device, range(target, 4).with(0x0101));
    assign(&vm.device, &event, range(target, 4).with(0x0301)).expect("IOEVENTFD");
    for (width, value, expected) in [(Width::Four, 0x0301, 1), (Width::One, 1, 2)] {
        assert_eq!(vm.ask(write(target, width, value)), WRITTEN);
        assert_eq!(event.take(), expected, "{width:?} of {value:#x}");
    }
    Outcome::Passed
}

/// A write signals all eventfds with the same range (A16).
pub fn each_of_several() -> Outcome {
    let vm = need!(ScriptedVm::new());
    for target in [PORT, ADDRESS] {
        let events: Vec<_> = (0..5)
            .map(|_| assigned(&vm.device, range(target, 4)))
            .collect();
        assert_eq!(vm.ask(write(target, Width::Four, 0)), WRITTEN);
        let signals: Vec<_> = events.iter().map(Eventfd::take).collect();
        assert_eq!(signals, [1; 5]);
    }
    Outcome::Passed
}

/// A write signals each range at its address that matches, for any lengths. Some of the ranges
/// match any value (A16).
pub fn each_that_matches() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let events = [
        range(ADDRESS, 4).with(1),
        range(ADDRESS, 4).with(2),
        range(ADDRESS, 4),
        range(ADDRESS, 2).with(2),
        range(ADDRESS, 8).with(1),
        range(ADDRESS, 1),
    ]
    .map(|range| assigned(&vm.device, range));
    for (width, value, expected) in [
        (Width::Four, 1, [1, 0, 1, 0, 1, 0]),
        (Width::Four, 2, [0, 1, 1, 0, 0, 0]),
        (Width::Two, 2, [0, 1, 1, 1, 0, 0]),
        (Width::One, 3, [0, 0, 1, 0, 0, 1]),
        (Width::Eight, 1, [0, 0, 0, 0, 1, 0]),
    ] {
        assert_eq!(vm.ask(write(ADDRESS, width, value)), WRITTEN);
        let signals = events.each_ref().map(Eventfd::take);
        assert_eq!(signals, expected, "{width:?} of {value}");
    }
    Outcome::Passed
}

/// One eventfd can have several values at one address.
pub fn one_for_several_values() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    for data in [3, 5, 7] {
        assign(&vm.device, &event, range(PORT, 2).with(data)).expect("IOEVENTFD");
    }
    for value in 0..8 {
        assert_eq!(vm.ask(write(PORT, Width::Two, value)), WRITTEN);
        assert_eq!(event.take(), u64::from([3, 5, 7].contains(&value)));
    }
    Outcome::Passed
}

/// Signals accumulate until the eventfd is read. A full counter does not stop the guest.
pub fn counter() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(PORT, 4));
    for value in 0..10 {
        assert_eq!(vm.ask(write(PORT, Width::Four, value)), WRITTEN);
    }
    assert_eq!(event.take(), 10);
    event.add(u64::MAX - 1).expect("write to the eventfd");
    for value in 0..3 {
        assert_eq!(vm.ask(write(PORT, Width::Four, value)), WRITTEN);
    }
    assert!(event.take() >= u64::MAX - 1);
    assert_eq!(vm.ask(write(PORT, Width::Four, 0)), WRITTEN);
    assert_eq!(event.take(), 1);
    Outcome::Passed
}

/// The writes of each vCPU signal.
pub fn every_vcpu() -> Outcome {
    let vm = need!(ScriptedVm::on(need!(cpus::pick(3))));
    let event = assigned(&vm.device, range(PORT, 4));
    for vcpu in [2, 0, 1, 1] {
        let access = write(PORT, Width::Four, 0);
        assert_eq!(vm.raise(request(vm.vmid, vcpu, access)), WRITTEN);
        assert_eq!(event.take(), 1, "vCPU {vcpu}");
    }
    Outcome::Passed
}

/// Each VM has its own ranges, and VMs can share an eventfd.
pub fn two_vms() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let first = need!(ScriptedVm::on(masks[0]));
    let second = need!(ScriptedVm::on(masks[1]));
    let access = write(PORT, Width::Four, 0);
    let shared = Eventfd::new();
    assign(&first.device, &shared, range(PORT, 4)).expect("IOEVENTFD");
    assert_eq!(second.ask(access), Answer::DeviceModel);
    let own = assigned(&second.device, range(PORT, 4));
    assert_eq!(first.ask(access), WRITTEN);
    assert_eq!((shared.take(), own.take()), (1, 0));
    assert_eq!(second.ask(access), WRITTEN);
    assert_eq!((shared.take(), own.take()), (0, 1));
    assign(&second.device, &shared, range(ADDRESS, 4)).expect("IOEVENTFD");
    assert_eq!(second.ask(write(ADDRESS, Width::Four, 0)), WRITTEN);
    assert_eq!(first.ask(access), WRITTEN);
    assert_eq!(shared.take(), 2);
    Outcome::Passed
}

/// The ports of PCI configuration take precedence over a range that covers them.
pub fn pci_ports() -> Outcome {
    const ENABLE: u64 = 1 << 31;
    let vm = need!(ScriptedVm::new());
    let (address, data) = (Target::Port(0xcf8), Target::Port(0xcfc));
    let events = [
        range(address, 4),
        range(data, 4),
        range(address, 8),
        range(data, 1),
    ]
    .map(|range| assigned(&vm.device, range));
    let written = ENABLE | 0x1840;
    assert_eq!(vm.ask(write(address, Width::Four, written)), WRITTEN);
    let latched = vm.ask(read(address, Width::Four));
    assert_eq!(latched, Answer::Driver(Some(written)));
    for access in [write(data, Width::Four, 1), read(data, Width::One)] {
        assert_eq!(vm.ask(access), Answer::DeviceModel);
    }
    assert_eq!(events.each_ref().map(Eventfd::take), [0; 4]);
    Outcome::Passed
}

/// Invalid sizes have no effect on other requests (R11). A device model could write them into its
/// request page.
pub fn hostile_size() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(ADDRESS, 8));
    for size in [0, 3, 7, 9, 16, 1 << 32, u64::MAX - 7, u64::MAX] {
        for offset in [0, 1, 7] {
            let access = write(beyond(ADDRESS, offset), Width::Eight, 0);
            // Any handler may complete the request.
            vm.raise(sized(request(vm.vmid, 0, access), size));
        }
    }
    event.take();
    assert_eq!(vm.ask(write(ADDRESS, Width::Eight, 0)), WRITTEN);
    assert_eq!(event.take(), 1);
    Outcome::Passed
}
