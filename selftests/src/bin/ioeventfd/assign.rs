// SPDX-License-Identifier: GPL-2.0

//! Tests of the ranges that can be assigned together, and of the ranges that DEASSIGN removes.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    eventfd::Eventfd,
    harness::Outcome,
    need,
    program::write,
    scripted_vm::{Answer, ScriptedVm},
};
use acrn_uapi::ACRN_IOEVENTFD_FLAG_DEASSIGN;
use nix::errno::Errno;

use crate::range::{ADDRESS, PORT, Range, WIDTHS, assign, assigned, deassign, ioeventfd, range};

/// Returns whether the driver completes a write of `value` with 4 bytes to `target`.
fn is_taken(vm: &ScriptedVm, target: Target, value: u64) -> bool {
    vm.ask(write(target, Width::Four, value)) != Answer::DeviceModel
}

/// Assigning the same eventfd twice for the same write fails with `EEXIST`, regardless of the
/// lengths.
pub fn same_again() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let assign = |event, range| assign(&vm.device, event, range);
    let any = Eventfd::new();
    assign(&any, range(PORT, 4)).expect("IOEVENTFD");
    let one = Eventfd::new();
    assign(&one, range(PORT, 4).with(1)).expect("IOEVENTFD");
    for len in [1, 2, 4, 8] {
        assert_eq!(assign(&any, range(PORT, len)), Err(Errno::EEXIST));
        assert_eq!(assign(&any, range(PORT, len).with(9)), Err(Errno::EEXIST));
        assert_eq!(assign(&one, range(PORT, len)), Err(Errno::EEXIST));
        assert_eq!(assign(&one, range(PORT, len).with(1)), Err(Errno::EEXIST));
    }
    // Another descriptor refers to the same eventfd.
    let duplicate = any.duplicate();
    assert_eq!(assign(&duplicate, range(PORT, 4)), Err(Errno::EEXIST));

    assign(&any, range(ADDRESS, 4)).expect("IOEVENTFD at another address");
    assign(&any, range(Target::Memory(0x510), 4))
        .expect("IOEVENTFD at the address with the port's number");
    assign(&any, range(Target::Port(0x511), 4)).expect("IOEVENTFD at another port");
    assign(&one, range(PORT, 4).with(2)).expect("IOEVENTFD with another value");
    assert!(is_taken(&vm, PORT, 3));
    assert_eq!((any.take(), one.take()), (1, 0));
    Outcome::Passed
}

/// DEASSIGN removes exactly the given range if it exists, and not the eventfd's first range (A16).
pub fn deassign_is_exact() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    let ranges = [
        range(PORT, 4),
        range(Target::Memory(0x510), 4),
        range(ADDRESS, 4),
        range(Target::Port(0x520), 4),
    ];
    for range in ranges {
        assign(&vm.device, &event, range).expect("IOEVENTFD");
    }
    let mut left = [true; 4];
    for index in [2, 0, 3, 1] {
        deassign(&vm.device, &event, ranges[index]).expect("DEASSIGN");
        left[index] = false;
        let taken = ranges.map(|range| is_taken(&vm, range.target, 0));
        assert_eq!(taken, left, "after {:x?}", ranges[index]);
        let signals = left.iter().filter(|left| **left).count();
        assert_eq!(event.take(), signals as u64);
    }
    Outcome::Passed
}

/// DEASSIGN with a value removes the range with that value (A16).
pub fn deassign_by_data() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    for data in 1..=3 {
        assign(&vm.device, &event, range(PORT, 4).with(data)).expect("IOEVENTFD");
    }
    deassign(&vm.device, &event, range(PORT, 4).with(2)).expect("DEASSIGN");
    let signals = [1, 2, 3].map(|value| {
        assert!(is_taken(&vm, PORT, value));
        event.take()
    });
    assert_eq!(signals, [1, 0, 1]);
    Outcome::Passed
}

/// DEASSIGN with a value of 64 bits removes the range with that value, and keeps a range whose
/// value has the same low half (A16).
pub fn deassign_by_high_half() -> Outcome {
    const LOW: u64 = 0x0102_0304;
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    let values = [1, 2, 0x8000_0000].map(|high: u64| high << 32 | LOW);
    let with = |data| range(ADDRESS, 8).with(data);
    for data in values {
        assign(&vm.device, &event, with(data)).expect("IOEVENTFD");
    }
    deassign(&vm.device, &event, with(values[1])).expect("DEASSIGN");
    let signals = values.map(|value| {
        let answer = vm.ask(write(ADDRESS, Width::Eight, value));
        assert_eq!(answer, Answer::Driver(None));
        event.take()
    });
    assert_eq!(signals, [1, 0, 1]);
    Outcome::Passed
}

/// DEASSIGN without a value removes ranges with a value as well, the oldest one first.
pub fn deassign_without_data() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    for data in [6, 5] {
        assign(&vm.device, &event, range(PORT, 4).with(data)).expect("IOEVENTFD");
    }
    deassign(&vm.device, &event, range(PORT, 4)).expect("DEASSIGN");
    for (value, signals) in [(6, 0), (5, 1)] {
        assert!(is_taken(&vm, PORT, value));
        assert_eq!(event.take(), signals, "{value}");
    }
    deassign(&vm.device, &event, range(PORT, 4)).expect("DEASSIGN");
    assert!(!is_taken(&vm, PORT, 5));
    Outcome::Passed
}

/// DEASSIGN with a length of 0 removes the eventfd's oldest range, at any address.
pub fn deassign_by_descriptor() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let other = assigned(&vm.device, range(Target::Port(0x530), 4));
    let event = Eventfd::new();
    let targets = [Target::Port(0x540), ADDRESS, Target::Port(0x520)];
    for target in targets {
        assign(&vm.device, &event, range(target, 4)).expect("IOEVENTFD");
    }
    for gone in 1..=3 {
        deassign(&vm.device, &event, range(PORT, 0)).expect("DEASSIGN");
        let signals = targets.map(|target| {
            is_taken(&vm, target, 0);
            event.take()
        });
        let expected = [0, 1, 2].map(|index| u64::from(index >= gone));
        assert_eq!(signals, expected, "after {gone}");
    }
    assert!(is_taken(&vm, Target::Port(0x530), 0));
    assert_eq!(other.take(), 1);
    Outcome::Passed
}

/// DEASSIGN of a range that the eventfd does not have removes the eventfd's oldest range. acrn-dm
/// computes the address from a BAR, which may have moved.
pub fn deassign_inexact() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let other = assigned(&vm.device, range(Target::Port(0x530), 4));
    let ranges = [
        range(PORT, 4).with(7),
        range(ADDRESS, 4),
        range(PORT, 4).with(9),
    ];
    let inexact: [Range; 7] = [
        range(PORT, 4).with(8),
        range(PORT, 2),
        range(PORT, 8),
        range(PORT, 3),
        range(Target::Memory(0xd000_0080), 4),
        range(Target::Port(0x511), 4),
        range(Target::Memory(0x510), 4),
    ];
    for inexact in inexact {
        let event = Eventfd::new();
        for range in ranges {
            assign(&vm.device, &event, range).expect("IOEVENTFD");
        }
        for left in (0..ranges.len()).rev() {
            assert_eq!(deassign(&vm.device, &event, inexact), Ok(()));
            let signals = ranges.map(|range| {
                is_taken(&vm, range.target, range.data.unwrap_or(0));
                event.take()
            });
            let oldest_gone = std::array::from_fn(|index| u64::from(index >= ranges.len() - left));
            assert_eq!(signals, oldest_gone, "after {inexact:x?}");
        }
    }
    assert!(is_taken(&vm, Target::Port(0x530), 0));
    assert_eq!(other.take(), 1);
    Outcome::Passed
}

/// DEASSIGN succeeds for an eventfd without a range. acrn-dm makes it twice when vhost ends.
pub fn deassign_of_nothing() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = assigned(&vm.device, range(PORT, 4));
    let unassigned = Eventfd::new();
    for removed in [range(PORT, 4), range(ADDRESS, 8).with(1), range(PORT, 0)] {
        assert_eq!(deassign(&vm.device, &unassigned, removed), Ok(()));
    }
    assert!(is_taken(&vm, PORT, 0));
    assert_eq!(event.take(), 1);
    for _ in 0..3 {
        assert_eq!(deassign(&vm.device, &event, range(PORT, 4)), Ok(()));
        assert!(!is_taken(&vm, PORT, 0));
    }
    Outcome::Passed
}

/// If two eventfds have the same range, DEASSIGN of one keeps the other.
pub fn deassign_one_of_two() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let gone = assigned(&vm.device, range(PORT, 4));
    let stays = assigned(&vm.device, range(PORT, 4));
    deassign(&vm.device, &gone, range(PORT, 4)).expect("DEASSIGN");
    assert!(is_taken(&vm, PORT, 0));
    assert_eq!((gone.take(), stays.take()), (0, 1));
    deassign(&vm.device, &stays, range(PORT, 4)).expect("DEASSIGN");
    assert!(!is_taken(&vm, PORT, 0));
    Outcome::Passed
}

/// If the longest of several ranges at an address is removed, accesses that only this range covered
/// go to the device model.
pub fn deassign_longest() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let events = WIDTHS.map(|width| assigned(&vm.device, range(ADDRESS, width as u32)));
    for (index, width) in WIDTHS.into_iter().enumerate().rev() {
        let answer = vm.ask(write(ADDRESS, width, 0));
        assert_eq!(answer, Answer::Driver(None), "{width:?}");
        deassign(&vm.device, &events[index], range(ADDRESS, width as u32)).expect("DEASSIGN");
        let answer = vm.ask(write(ADDRESS, width, 0));
        assert_eq!(answer, Answer::DeviceModel, "{width:?}");
    }
    Outcome::Passed
}

/// A removed range leaves nothing behind, even after many repetitions.
pub fn again_and_again() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    for round in 0..200u64 {
        let range = match round % 2 {
            0 => range(PORT, 4),
            _ => range(PORT, 2).with(round),
        };
        assign(&vm.device, &event, range).expect("IOEVENTFD");
        deassign(&vm.device, &event, range).expect("DEASSIGN");
    }
    assert!(!is_taken(&vm, PORT, 0));
    Outcome::Passed
}

/// If a VM has many ranges, each write signals the right eventfd.
pub fn many_ranges() -> Outcome {
    const RANGES: usize = 256;
    let vm = need!(ScriptedVm::new());
    // Ports and addresses alternate. Each has four values. The order is mixed.
    let ranges = (0..RANGES).map(|index| {
        let index = (index * 101 % RANGES) as u64;
        let (number, value) = (index / 4, index % 4);
        let target = match number % 2 {
            0 => Target::Port(0x1000 + 4 * number as u16),
            _ => Target::Memory(0xd000_0000 + 4 * number),
        };
        range(target, 4).with(0x1000 + value)
    });
    let ranges: Vec<_> = ranges
        .map(|range| (range, assigned(&vm.device, range)))
        .collect();
    for (index, (range, _)) in ranges.iter().enumerate() {
        assert!(is_taken(&vm, range.target, range.data.unwrap_or(0)));
        let signals: Vec<_> = ranges.iter().map(|(_, event)| event.take()).collect();
        let expected: Vec<_> = (0..RANGES).map(|other| u64::from(other == index)).collect();
        assert_eq!(signals, expected, "{range:x?}");
    }
    assert!(!is_taken(&vm, Target::Port(0xffc), 0));
    // Deassigns every other eventfd by its descriptor alone.
    for (_, event) in ranges.iter().step_by(2) {
        let mut argument = range(PORT, 0).argument(event);
        argument.flags = ACRN_IOEVENTFD_FLAG_DEASSIGN;
        ioeventfd(&vm.device, argument).expect("DEASSIGN");
    }
    for (index, (range, event)) in ranges.iter().enumerate() {
        is_taken(&vm, range.target, range.data.unwrap_or(0));
        assert_eq!(event.take(), index as u64 % 2, "{range:x?}");
    }
    Outcome::Passed
}

/// IOEVENTFD refuses more ranges than a VM may have, which bounds the work of the upcall.
/// Upstream's driver has no limit.
pub fn too_many_ranges() -> Outcome {
    const MOST: u64 = 1024;
    let vm = need!(ScriptedVm::new());
    let event = Eventfd::new();
    let nth = |index| range(Target::Memory(0xd000_0000 + 8 * index), 8);
    for index in 0..MOST {
        assign(&vm.device, &event, nth(index)).expect("IOEVENTFD");
    }
    let last = nth(MOST);
    assert_eq!(assign(&vm.device, &event, last), Err(Errno::ENOSPC));
    assert!(!is_taken(&vm, last.target, 0));
    deassign(&vm.device, &event, nth(0)).expect("DEASSIGN");
    assign(&vm.device, &event, last).expect("IOEVENTFD");
    assert!(is_taken(&vm, last.target, 0));
    assert_eq!(event.take(), 1);
    Outcome::Passed
}

/// IOEVENTFD refuses more ranges at one address than one write may signal.
pub fn too_many_at_a_place() -> Outcome {
    const MOST: u64 = 64;
    let vm = need!(ScriptedVm::new());
    let events: Vec<_> = (0..=MOST).map(|_| Eventfd::new()).collect();
    // Half of the ranges match any value, and the other ranges match one value each.
    let nth = |index: u64| match index % 2 {
        0 => range(PORT, 4),
        _ => range(PORT, 4).with(index),
    };
    for index in 0..MOST {
        assign(&vm.device, &events[index as usize], nth(index)).expect("IOEVENTFD");
    }
    let last = &events[MOST as usize];
    for more in [range(PORT, 4), range(PORT, 2).with(7)] {
        assert_eq!(assign(&vm.device, last, more), Err(Errno::ENOSPC));
    }
    assign(&vm.device, last, range(Target::Port(0x514), 4)).expect("IOEVENTFD at another port");
    deassign(&vm.device, last, range(Target::Port(0x514), 4)).expect("DEASSIGN");
    assert!(is_taken(&vm, PORT, 1));
    let signals: Vec<_> = events.iter().map(|event| event.take()).collect();
    let expected: Vec<_> = (0..=MOST)
        .map(|index| u64::from(index < MOST && (index % 2 == 0 || index == 1)))
        .collect();
    assert_eq!(signals, expected);
    deassign(&vm.device, &events[0], nth(0)).expect("DEASSIGN");
    assign(&vm.device, last, nth(0)).expect("IOEVENTFD");
    Outcome::Passed
}
