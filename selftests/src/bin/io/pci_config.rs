// SPDX-License-Identifier: GPL-2.0

//! Tests of PCI configuration mechanism #1.
//!
//! The driver translates accesses to ports 0xCF8 and 0xCFC into configuration requests. ACRN
//! completes some of the accesses itself, and passes on only one access to 0xCFC after each
//! address. Scripted requests show how the driver handles the other accesses.

use acrn_ioctls::{Direction, Request, Target, Width};
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    need,
    program::{self, Access, Operand, read, write},
    scripted_vm::{Answer, ScriptedVm, polled, request},
    trace::Trace,
    waiter::until,
};
use acrn_uapi::ioctl::{
    ACRN_IOCTL_CLEAR_VM_IOREQ, ACRN_IOCTL_CREATE_IOREQ_CLIENT, ACRN_IOCTL_DESTROY_IOREQ_CLIENT,
};

const ADDRESS: Target = Target::Port(0xcf8);
const ENABLE: u64 = 1 << 31;
/// Address of register 0x40 of bus 5, device 3, function 2.
const REGISTER: u64 = ENABLE | 5 << 16 | 3 << 11 | 2 << 8 | 0x40;
/// Address of register 0xf40 of the same function, in the extended configuration space of PCI
/// Express. ACRN hides it from the guest, but passes it on.
const EXTENDED: u64 = REGISTER | 0xf << 24;
const ANSWER: u64 = 0x4433_2211;

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

/// Returns the target and width of a request, and the value if it is a write.
fn summary(request: &Request) -> (Target, Width, Option<u64>) {
    let written = (request.direction == Direction::Write).then_some(request.value);
    (request.target, request.width, written)
}

/// Raises a request that the driver leaves to the device model. Returns the request as the device
/// model sees it.
fn seen(vm: &ScriptedVm, access: Access) -> (Target, Width, Option<u64>) {
    let slot = vm.page.slot(0).expect("slot 0");
    assert_eq!(vm.probe.raise(request(vm.vmid, 0, access)), 0);
    until("the device model has the request", || slot.is_ours());
    let seen = summary(&slot.request().expect("a valid request"));
    vm.finish(0).expect("NOTIFY_REQUEST_FINISH");
    seen
}

fn latch(vm: &ScriptedVm, address: u64) {
    let latched = vm.ask(write(ADDRESS, Width::Four, address));
    assert_eq!(latched, Answer::Driver(None));
}

/// A guest's configuration accesses reach the device model if ACRN passes them on.
///
/// ACRN completes reads of the address and narrower accesses. An address is valid for one access,
/// and ACRN completes later ones.
pub fn config_of_guest() -> Outcome {
    let accesses = [
        read(ADDRESS, Width::Four),
        write(ADDRESS, Width::Four, EXTENDED),
        write(ADDRESS, Width::One, 0xff),
        write(ADDRESS, Width::Two, 0xffff),
        read(ADDRESS, Width::One),
        read(ADDRESS, Width::Two),
        read(ADDRESS, Width::Four),
        read(data(0), Width::Four),
        read(data(0), Width::Four),
        write(data(0), Width::Four, 1),
        read(ADDRESS, Width::Four),
        write(ADDRESS, Width::Four, REGISTER),
        write(data(2), Width::Two, 0xbeef),
        write(ADDRESS, Width::Four, REGISTER & !ENABLE),
        read(data(1), Width::One),
    ];
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(&accesses));
    guest.vm.start().expect("START_VM");
    let requests = guest.serve(1, |_, _| ANSWER);
    let requests: Vec<_> = requests
        .iter()
        .map(|(_, request)| summary(request))
        .collect();
    let expected = [
        (config(0xf40), Width::Four, None),
        (config(0x42), Width::Two, Some(0xbeef)),
    ];
    assert_eq!(requests, expected);
    let answers = [0, !0, !0, REGISTER, ANSWER, !0, 0, !0];
    let reads = accesses.iter().filter(|access| access.value.is_none());
    for (index, (access, answer)) in reads.zip(answers).enumerate() {
        let stored: u64 = guest.memory.read(program::RESULTS as usize + 8 * index);
        let expected = program::register_after_read(access, answer, Operand::Bits64);
        assert_eq!(stored, expected, "read {index}, {access:x?}");
    }
    Outcome::Passed
}

/// A read of 0xCF8 returns the value that was written.
pub fn config_address_latches() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let latched = || vm.ask(read(ADDRESS, Width::Four));
    assert_eq!(latched(), Answer::Driver(Some(0)));
    latch(&vm, REGISTER);
    assert_eq!(latched(), Answer::Driver(Some(REGISTER)));
    Outcome::Passed
}

/// Each access to 0xCFC..0xCFF becomes an access to the register whose address is in 0xCF8.
pub fn config_access_folds() -> Outcome {
    let vm = need!(ScriptedVm::new());
    latch(&vm, REGISTER);
    for (access, expected) in [
        (write(data(0), Width::Four, 0xaabb_ccdd), config(0x40)),
        (read(data(0), Width::Four), config(0x40)),
        (read(data(2), Width::Two), config(0x42)),
        (write(data(3), Width::One, 0x5a), config(0x43)),
    ] {
        assert_eq!(seen(&vm, access), (expected, access.width, access.value));
    }
    latch(&vm, EXTENDED);
    let access = read(data(0), Width::One);
    assert_eq!(seen(&vm, access), (config(0xf40), Width::One, None));
    Outcome::Passed
}

/// If the enable bit is clear, reads return all ones, writes have no effect, and the device model
/// receives no request.
pub fn config_disabled_is_all_ones() -> Outcome {
    let vm = need!(ScriptedVm::new());
    latch(&vm, REGISTER & !ENABLE);
    for (access, expected) in [
        (read(data(0), Width::Four), Some(0xffff_ffff)),
        (write(data(0), Width::Four, 1), None),
        (read(data(1), Width::One), Some(0xffff_ffff)),
    ] {
        assert_eq!(vm.ask(access), Answer::Driver(expected), "{access:?}");
    }
    Outcome::Passed
}

/// The driver leaves narrow accesses to 0xCF8 to the device model, because they do not refer to the
/// address register (A10).
pub fn config_narrow_address_passes() -> Outcome {
    let vm = need!(ScriptedVm::new());
    latch(&vm, REGISTER);
    for access in [write(ADDRESS, Width::One, 0xff), read(ADDRESS, Width::Two)] {
        assert_eq!(seen(&vm, access), (ADDRESS, access.width, access.value));
    }
    let latched = vm.ask(read(ADDRESS, Width::Four));
    assert_eq!(latched, Answer::Driver(Some(REGISTER)));
    Outcome::Passed
}

/// The driver ignores the two lowest bits of the address, and the bits between the enable bit and
/// the extended register. All other fields have their full width.
pub fn config_address_has_low_bits() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let widest = Target::PciConfig {
        bus: 0xff,
        device: 0x1f,
        function: 7,
        register: 0xffc,
    };
    for (address, expected) in [
        (REGISTER | 3, config(0x40)),
        (REGISTER | 0x7000_0000, config(0x40)),
        (EXTENDED | 0x7000_0003, config(0xf40)),
        (u32::MAX.into(), widest),
    ] {
        latch(&vm, address);
        let access = seen(&vm, read(data(0), Width::Four));
        assert_eq!(access, (expected, Width::Four, None), "{address:#x}");
        // A read of the address register returns the address unchanged.
        let latched = vm.ask(read(ADDRESS, Width::Four));
        assert_eq!(latched, Answer::Driver(Some(address)));
    }
    Outcome::Passed
}

/// The driver leaves accesses next to the two ports, or similar to accesses to them, to the device
/// model unchanged. Chipsets have the reset control register at 0xCF9.
pub fn config_neighbours_pass() -> Outcome {
    let vm = need!(ScriptedVm::new());
    latch(&vm, REGISTER);
    let port = Target::Port;
    for access in [
        write(port(0xcf9), Width::One, 0x0e),
        write(port(0xcf9), Width::Four, 0xff),
        read(port(0xcfa), Width::Two),
        write(port(0xcfb), Width::One, 0xff),
        read(port(0xcf7), Width::Four),
        write(port(0xcf4), Width::Four, 1),
        // These accesses extend beyond the end of the data port.
        read(data(1), Width::Four),
        write(data(3), Width::Two, 0xbeef),
        read(data(4), Width::Four),
        read(data(4), Width::One),
        // These accesses are to memory with the same addresses.
        write(Target::Memory(0xcf8), Width::Four, 0),
        read(Target::Memory(0xcf8), Width::Four),
        write(Target::Memory(0xcfc), Width::Four, 0x55),
        read(Target::Memory(0xcfe), Width::Two),
    ] {
        let expected = (access.target, access.width, access.value);
        assert_eq!(seen(&vm, access), expected);
    }
    let latched = vm.ask(read(ADDRESS, Width::Four));
    assert_eq!(latched, Answer::Driver(Some(REGISTER)));
    Outcome::Passed
}

/// Each VM has its own address register.
pub fn config_of_two_vms_apart() -> Outcome {
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (first, second) = (
        need!(ScriptedVm::on(masks[0])),
        need!(ScriptedVm::on(masks[1])),
    );
    latch(&first, REGISTER);
    latch(&second, REGISTER ^ 0xff00);
    let latched = first.ask(read(ADDRESS, Width::Four));
    assert_eq!(latched, Answer::Driver(Some(REGISTER)));
    Outcome::Passed
}

/// The driver leaves PCICFG requests to the device model unchanged, with any contents of the
/// address register. The hypervisor may make such requests.
pub fn config_requests_pass() -> Outcome {
    let vm = need!(ScriptedVm::new());
    latch(&vm, ENABLE | 0xff_ff00);
    for access in [
        read(config(0x40), Width::Four),
        read(config(0xf42), Width::Two),
        write(config(0x43), Width::One, 0x5a),
        write(config(0x44), Width::Four, 0x8765_4321),
    ] {
        let expected = (access.target, access.width, access.value);
        assert_eq!(seen(&vm, access), expected);
    }
    Outcome::Passed
}

/// Reads by PCICFG requests that the device model cannot complete any more return all ones.
pub fn config_requests_abandoned() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let slot = vm.page.slot(0).expect("slot 0");
    let plain = |number| assert_eq!(vm.device.plain(number), Ok(()));
    let clear = || plain(ACRN_IOCTL_CLEAR_VM_IOREQ);
    let destroy = || {
        plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT);
        plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT);
    };
    for (access, expected) in [
        (read(config(0x40), Width::Four), Some(0xffff_ffff)),
        (read(config(0x42), Width::One), Some(0xffff_ffff)),
        (write(config(0x44), Width::Four, 1), None),
    ] {
        let plain = request(vm.vmid, 0, access);
        for request in [plain, polled(plain)] {
            for end in [&clear as &dyn Fn(), &destroy] {
                let trace = Trace::start(&vm.probe);
                assert_eq!(vm.probe.raise(request), 0);
                until("the device model has the request", || slot.is_ours());
                end();
                let answered = vm.answered(&trace, &request);
                assert_eq!(answered, expected, "{access:?}");
            }
        }
    }
    Outcome::Passed
}
