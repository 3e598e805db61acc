// SPDX-License-Identifier: GPL-2.0

//! Tests that written values reach the device model, and that read values reach guest registers.

use std::thread;

use acrn_ioctls::{Direction, Request, Target, Width};
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    need,
    probe::Probe,
    program::{self, Access, Operand, read, write},
    trace::Trace,
};

const PORT: Target = Target::Port(0x510);
const ADDRESS: Target = Target::Memory(0xd000_0040);
const WRITTEN: u64 = 0x8899_aabb_ccdd_eeff;
const ANSWER: u64 = 0x0123_4567_89ab_cdef;
const PORT_WIDTHS: [Width; 3] = [Width::One, Width::Two, Width::Four];
const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];

fn all_widths(target: Target, widths: &[Width]) -> Vec<Access> {
    let accesses = widths
        .iter()
        .flat_map(|&width| [write(target, width, WRITTEN), read(target, width)]);
    accesses.collect()
}

/// Panics unless the requests `served` correspond to `accesses`.
#[track_caller]
fn assert_requests(served: &[Request], accesses: &[Access]) {
    assert_eq!(served.len(), accesses.len(), "requests: {served:#x?}");
    for (request, access) in served.iter().zip(accesses) {
        assert_eq!(request.target, access.target, "target of {request:#x?}");
        assert_eq!(request.width, access.width, "width of {request:#x?}");
        let direction = match access.value {
            Some(_) => Direction::Write,
            None => Direction::Read,
        };
        assert_eq!(request.direction, direction, "direction of {request:#x?}");
        if let Some(value) = access.value {
            let value = value & access.width.mask();
            assert_eq!(request.value, value, "value of {request:#x?}");
        }
    }
}

/// Panics unless the guest stored the correct registers from `results` on.
#[track_caller]
fn assert_stored(guest: &Guest, results: u64, accesses: &[Access], operand: Operand) {
    let reads = accesses.iter().filter(|access| access.value.is_none());
    for (index, access) in reads.enumerate() {
        let stored = guest.memory.read::<u64>(results as usize + 8 * index);
        let expected = program::register_after_read(access, ANSWER, operand);
        assert_eq!(stored, expected, "register after {access:#x?}");
    }
}

fn requests(served: Vec<(u32, Request)>, of: u32) -> Vec<Request> {
    let requests = served.into_iter().filter(|(vcpu, _)| *vcpu == of);
    requests.map(|(_, request)| request).collect()
}

fn check_long_mode(accesses: &[Access]) -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::long_mode(accesses));
    guest.vm.start().expect("START_VM");
    let served = guest.serve(1, |_, _| ANSWER);
    assert_requests(&requests(served, 0), accesses);
    assert_stored(&guest, program::RESULTS, accesses, Operand::Bits64);
    Outcome::Passed
}

/// OUT and IN of 1, 2 and 4 bytes transfer the right values.
pub fn port_io_of_each_width() -> Outcome {
    check_long_mode(&all_widths(PORT, &PORT_WIDTHS))
}

/// MOV of 1, 2, 4 and 8 bytes transfers the right values.
pub fn mmio_of_each_width() -> Outcome {
    check_long_mode(&all_widths(ADDRESS, &WIDTHS))
}

/// OUT and IN transfer the right values in real mode.
pub fn port_io_in_real_mode() -> Outcome {
    let accesses = all_widths(PORT, &PORT_WIDTHS);
    let guest = Guest::new(need!(cpus::pick(1)));
    let program = program::real_mode(program::RESULTS, &accesses);
    guest.load_real_mode(&program);
    guest.vm.start().expect("START_VM");
    let served = guest.serve(1, |_, _| ANSWER);
    assert_requests(&requests(served, 0), &accesses);
    assert_stored(&guest, program::RESULTS, &accesses, Operand::Bits32);
    Outcome::Passed
}

/// Four vCPUs make requests concurrently, and each gets its own values.
pub fn two_vms_two_vcpus_each() -> Outcome {
    let masks = need!(cpus::pick_many(&[2, 2]));
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    let first: Vec<_> = (0..20).flat_map(|_| all_widths(ADDRESS, &WIDTHS)).collect();
    let second: Vec<_> = (0..20)
        .flat_map(|_| all_widths(PORT, &PORT_WIDTHS))
        .collect();
    let program = program::long_mode_with_second_vcpu(&first);
    let real = program::real_mode(program::SECOND_RESULTS, &second);

    let guests = masks.iter().map(|mask| {
        let guest = Guest::long_mode(*mask, &program);
        assert_eq!(guest.vm.vcpu_count(), 2);
        guest
            .memory
            .write_bytes(program::REAL_MODE_ENTRY as usize, &real);
        guest
    });
    let guests: Vec<_> = guests.collect();
    thread::scope(|scope| {
        for guest in &guests {
            scope.spawn(|| {
                guest.vm.start().expect("START_VM");
                let served = guest.serve(2, |_, _| ANSWER);
                assert_requests(&requests(served.clone(), 0), &first);
                assert_requests(&requests(served, 1), &second);
                assert_stored(guest, program::RESULTS, &first, Operand::Bits64);
                assert_stored(guest, program::SECOND_RESULTS, &second, Operand::Bits32);
            });
        }
    });
    if let Some(trace) = trace {
        trace.assert_sane();
    }
    Outcome::Passed
}

/// The driver notifies the hypervisor once of each request, and loses no request.
pub fn many_requests_in_a_row() -> Outcome {
    const COUNT: u64 = 500;
    let probe = Probe::open();
    let trace = probe.as_ref().ok().map(Trace::start);
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::chatter(0x510));
    guest.vm.start().expect("START_VM");
    let served = guest.serve_until(|_, _| 0, |_, request| request.value == COUNT - 1);
    let values: Vec<_> = served.iter().map(|(_, request)| request.value).collect();
    assert!(values.into_iter().eq(0..COUNT), "requests are out of order");
    guest.vm.pause().expect("PAUSE_VM");
    if let Some(trace) = trace {
        trace.assert_sane();
    }
    Outcome::Passed
}
