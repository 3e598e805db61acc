// SPDX-License-Identifier: GPL-2.0

//! Tests of invalid arguments. IRQFD refuses them without a hypercall.

use std::{sync::Barrier, thread};

use acrn_selftests::{
    device::{APIC, Device},
    eventfd::{Eventfd, each_bad_descriptor},
    harness::Outcome,
    mapping_fixture::MappingFixture,
    need,
    trace::Trace,
};
use acrn_uapi::ACRN_IRQFD_FLAG_DEASSIGN;
use nix::{
    errno::Errno,
    sys::resource::{Resource, setrlimit},
};

use crate::assign::{argument, assign, assigned, deassign, injected, irqfd};

/// IRQFD fails with `EINVAL` before CREATE_VM and after DESTROY_VM.
pub fn without_vm() -> Outcome {
    let event = Eventfd::new();
    let device = need!(Device::open());
    assert_eq!(assign(&device, &event, 0x31), Err(Errno::EINVAL));
    let fixture = need!(MappingFixture::new());
    fixture.destroy();
    assert_eq!(assign(&fixture.device, &event, 0x31), Err(Errno::EINVAL));
    assert_eq!(deassign(&fixture.device, &event), Err(Errno::EINVAL));
    Outcome::Passed
}

/// IRQFD refuses unknown flags (A18).
pub fn unknown_flags() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::new();
    let trace = Trace::start(&fixture.probe);
    for flag in (1..32).map(|bit| 1 << bit) {
        for known in [0, ACRN_IRQFD_FLAG_DEASSIGN] {
            let mut argument = argument(&event, APIC, 0x31);
            argument.flags = flag | known;
            let refused = irqfd(&fixture.device, argument);
            assert_eq!(refused, Err(Errno::EINVAL), "flags {:#x}", argument.flags);
        }
    }
    event.signal();
    trace.assert_no_hypercalls();
    Outcome::Passed
}

/// IRQFD refuses descriptors that are not open or do not refer to an eventfd.
pub fn descriptors() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    each_bad_descriptor(&fixture.device, |fd, expected| {
        for flags in [0, ACRN_IRQFD_FLAG_DEASSIGN] {
            let mut argument = argument(&fd, APIC, 0x31);
            argument.flags = flags;
            let refused = irqfd(&fixture.device, argument);
            assert_eq!(refused, Err(expected), "descriptor {fd}, flags {flags}");
        }
    });
    trace.assert_no_hypercalls();
    Outcome::Passed
}

/// An eventfd has at most one MSI in a VM. A second assignment fails with `EBUSY`, even with
/// another descriptor of the eventfd.
pub fn same_again() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let event = assigned(&fixture.device, 0x31);
    let duplicate = event.duplicate();
    for event in [&event, &duplicate] {
        for vector in [0x31, 0x45] {
            let refused = assign(&fixture.device, event, vector);
            assert_eq!(refused, Err(Errno::EBUSY));
        }
    }
    // The first assignment is unaffected.
    let trace = Trace::start(&fixture.probe);
    event.signal();
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x31)]);
    Outcome::Passed
}

/// Maximum number of irqfds of a VM.
const MAX_IRQFDS: usize = 1024;

/// Irqfds whose eventfds are closed do not count towards the limit.
pub fn too_many_but_closed() -> Outcome {
    let files = 2 * MAX_IRQFDS as u64;
    setrlimit(Resource::RLIMIT_NOFILE, files, files).expect("RLIMIT_NOFILE");
    let fixture = need!(MappingFixture::new());
    for _ in 0..2 {
        let events: Vec<_> = (0..MAX_IRQFDS)
            .map(|_| assigned(&fixture.device, 0x31))
            .collect();
        drop(events);
    }
    let last = assigned(&fixture.device, 0x45);
    let trace = Trace::start(&fixture.probe);
    last.signal();
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x45)]);
    Outcome::Passed
}

/// If two threads assign the same eventfd concurrently, one of them succeeds. A signal then causes
/// one interrupt.
pub fn by_two_threads() -> Outcome {
    const ROUNDS: usize = 300;
    let fixture = need!(MappingFixture::new());
    for round in 0..ROUNDS {
        let event = Eventfd::new();
        let barrier = Barrier::new(2);
        let assign = || {
            barrier.wait();
            assign(&fixture.device, &event, 0x31)
        };
        let mut results = thread::scope(|scope| {
            [scope.spawn(assign), scope.spawn(assign)]
                .map(|thread| thread.join().expect("join the thread"))
        });
        results.sort_by_key(Result::is_err);
        assert_eq!(results, [Ok(()), Err(Errno::EBUSY)], "round {round}");
        let trace = Trace::start(&fixture.probe);
        event.signal();
        assert_eq!(injected(&trace).len(), 1, "round {round}");
        deassign(&fixture.device, &event).expect("DEASSIGN");
    }
    Outcome::Passed
}

/// IRQFD refuses more irqfds than a VM may have, which bounds the kernel memory that they use.
/// Upstream's driver has no limit.
pub fn too_many() -> Outcome {
    let files = 2 * MAX_IRQFDS as u64;
    setrlimit(Resource::RLIMIT_NOFILE, files, files).expect("RLIMIT_NOFILE");
    let fixture = need!(MappingFixture::new());
    let events: Vec<_> = (0..MAX_IRQFDS)
        .map(|_| assigned(&fixture.device, 0x31))
        .collect();
    let last = Eventfd::new();
    let refused = assign(&fixture.device, &last, 0x45);
    assert_eq!(refused, Err(Errno::ENOSPC));
    last.signal();
    assert_eq!(
        last.take(),
        1,
        "events left in an eventfd that IRQFD refused"
    );
    deassign(&fixture.device, &events[MAX_IRQFDS / 2]).expect("DEASSIGN");
    assign(&fixture.device, &last, 0x45).expect("IRQFD");
    let trace = Trace::start(&fixture.probe);
    last.signal();
    assert_eq!(injected(&trace), [(fixture.vmid.into(), APIC, 0x45)]);
    Outcome::Passed
}
