// SPDX-License-Identifier: GPL-2.0

//! PCI configuration mechanism #1: the driver folds ports 0xCF8 and 0xCFC into configuration requests.

use acrn_ioctls::{Direction, Request, Target, Width};
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    need,
    program::{self, Access, Operand, read, write},
};

const ADDRESS: Target = Target::Port(0xcf8);
const ENABLE: u64 = 1 << 31;
/// Bus 5, device 3, function 2, register 0x40.
const REGISTER: u64 = ENABLE | 5 << 16 | 3 << 11 | 2 << 8 | 0x40;

fn data(offset: u16) -> Target {
    Target::Port(0xcfc + offset)
}

fn config(register: u32) -> Target {
    Target::PciConfig {
        bus: 5,
        device: 3,
        function: 2,
        register,
    }
}

/// Runs a program whose reads are all answered with 0x4433_2211; what was asked, and the registers.
fn run(accesses: &[Access]) -> Result<(Vec<Request>, Vec<u64>), String> {
    let guest = Guest::long_mode(cpus::pick(1)?, &program::long_mode(accesses));
    guest.vm.start().expect("START_VM");
    let asked = guest.serve(1, |_, _| 0x4433_2211);
    let reads = accesses.iter().filter(|access| access.value.is_none());
    let stored = (0..reads.count()).map(|index| {
        guest
            .memory
            .read::<u64>(program::RESULTS as usize + 8 * index)
    });
    Ok((
        asked.into_iter().map(|(_, request)| request).collect(),
        stored.collect(),
    ))
}

/// What was written to 0xCF8 is read back, and no request comes of it.
pub fn address_latches() -> Outcome {
    let accesses = [
        read(ADDRESS, Width::Four),
        write(ADDRESS, Width::Four, REGISTER),
        read(ADDRESS, Width::Four),
    ];
    let (asked, stored) = need!(run(&accesses));
    assert_eq!(asked, []);
    assert_eq!(stored, [0, REGISTER]);
    Outcome::Passed
}

/// An access to 0xCFC..0xCFF becomes one to the register that 0xCF8 names.
pub fn access_folds() -> Outcome {
    let extended = REGISTER | 0xf << 24;
    let accesses = [
        write(ADDRESS, Width::Four, REGISTER),
        write(data(0), Width::Four, 0xaabb_ccdd),
        read(data(0), Width::Four),
        read(data(2), Width::Two),
        write(data(3), Width::One, 0x5a),
        write(ADDRESS, Width::Four, extended),
        read(data(0), Width::One),
    ];
    let (asked, stored) = need!(run(&accesses));
    let asked: Vec<_> = asked
        .iter()
        .map(|request| {
            let written = match request.direction {
                Direction::Write => Some(request.value),
                Direction::Read => None,
            };
            (request.target, request.width, written)
        })
        .collect();
    let expected = [
        (config(0x40), Width::Four, Some(0xaabb_ccdd)),
        (config(0x40), Width::Four, None),
        (config(0x42), Width::Two, None),
        (config(0x43), Width::One, Some(0x5a)),
        (config(0xf40), Width::One, None),
    ];
    assert_eq!(asked, expected);
    let after = |width| program::register_after_read(width, 0x4433_2211, Operand::Bits64);
    assert_eq!(stored, [Width::Four, Width::Two, Width::One].map(after));
    Outcome::Passed
}

/// Without the enable bit reads are all ones, writes are dropped, and no request comes of it.
pub fn disabled_is_all_ones() -> Outcome {
    let accesses = [
        write(ADDRESS, Width::Four, REGISTER & !ENABLE),
        read(data(0), Width::Four),
        write(data(0), Width::Four, 1),
        read(data(1), Width::One),
    ];
    let (asked, stored) = need!(run(&accesses));
    assert_eq!(asked, []);
    let after = |width| program::register_after_read(width, u64::MAX, Operand::Bits64);
    assert_eq!(stored, [Width::Four, Width::One].map(after));
    Outcome::Passed
}

/// A narrow access to 0xCF8 is not for the address register (A10): it goes to the device model.
pub fn narrow_address_passes() -> Outcome {
    let accesses = [
        write(ADDRESS, Width::Four, REGISTER),
        write(ADDRESS, Width::One, 0xff),
        read(ADDRESS, Width::Two),
        read(ADDRESS, Width::Four),
    ];
    let (asked, stored) = need!(run(&accesses));
    let asked: Vec<_> = asked
        .iter()
        .map(|request| (request.target, request.width))
        .collect();
    assert_eq!(asked, [(ADDRESS, Width::One), (ADDRESS, Width::Two)]);
    let narrow = program::register_after_read(Width::Two, 0x4433_2211, Operand::Bits64);
    assert_eq!(stored, [narrow, REGISTER]);
    Outcome::Passed
}

/// Each VM has its own address register.
pub fn two_vms_apart() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let accesses = [
        write(ADDRESS, Width::Four, REGISTER),
        write(Target::Port(0x510), Width::One, 0),
        read(ADDRESS, Width::Four),
    ];
    let first = Guest::long_mode(masks[0], &program::long_mode(&accesses));
    let other = [write(ADDRESS, Width::Four, REGISTER ^ 0xff00)];
    let second = Guest::long_mode(masks[1], &program::long_mode(&other));
    first.vm.start().expect("START_VM");
    // The first VM waits at its port while the second one writes its own address.
    first.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    second.vm.start().expect("START_VM");
    second.serve(1, |_, _| 0);
    first.serve(1, |_, _| 0);
    assert_eq!(
        first.memory.read::<u64>(program::RESULTS as usize),
        REGISTER
    );
    Outcome::Passed
}
