// SPDX-License-Identifier: GPL-2.0

//! Arguments that make no sense. The hypervisor hears nothing of them.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
    sync::Barrier,
    thread,
};

use acrn_selftests::{
    bench::Bench, device::Device, event::Event, harness::Outcome, need, trace::Trace,
};
use acrn_uapi::ACRN_IRQFD_FLAG_DEASSIGN;
use nix::{
    errno::Errno,
    sys::resource::{Resource, setrlimit},
};

use crate::assign::{APIC, argument, assign, assigned, deassign, injected, irqfd};

/// Before CREATE_VM and after DESTROY_VM.
pub fn without_vm() -> Outcome {
    let event = Event::new();
    let device = need!(Device::open());
    assert_eq!(assign(&device, &event, 0x31), Err(Errno::EINVAL));
    let bench = need!(Bench::new());
    bench.destroy();
    assert_eq!(assign(&bench.device, &event, 0x31), Err(Errno::EINVAL));
    assert_eq!(deassign(&bench.device, &event), Err(Errno::EINVAL));
    Outcome::Passed
}

/// Flags that there are not (A18).
pub fn unknown_flags() -> Outcome {
    let bench = need!(Bench::new());
    let event = Event::new();
    let trace = Trace::start(&bench.probe);
    for flag in (1..32).map(|bit| 1 << bit) {
        for known in [0, ACRN_IRQFD_FLAG_DEASSIGN] {
            let mut argument = argument(&event, APIC, 0x31);
            argument.flags = flag | known;
            let refused = irqfd(&bench.device, argument);
            assert_eq!(refused, Err(Errno::EINVAL), "flags {:#x}", argument.flags);
        }
    }
    event.signal();
    assert_eq!(trace.ids(), [], "hypercalls");
    Outcome::Passed
}

/// Descriptors that are not open, or not of an eventfd.
pub fn descriptors() -> Outcome {
    let bench = need!(Bench::new());
    let trace = Trace::start(&bench.probe);
    let other = File::open("/dev/null").expect("/dev/null");
    let (read_end, _write_end) = std::io::pipe().expect("a pipe");
    let closed = Event::new().as_raw_fd();
    let cases = [
        (closed, Errno::EBADF),
        (-1, Errno::EBADF),
        (i32::MAX, Errno::EBADF),
        (i32::MIN, Errno::EBADF),
        (other.as_raw_fd(), Errno::EINVAL),
        (read_end.as_raw_fd(), Errno::EINVAL),
        (bench.device.as_fd().as_raw_fd(), Errno::EINVAL),
    ];
    for (fd, expected) in cases {
        for flags in [0, ACRN_IRQFD_FLAG_DEASSIGN] {
            let mut argument = argument(&fd, APIC, 0x31);
            argument.flags = flags;
            let refused = irqfd(&bench.device, argument);
            assert_eq!(refused, Err(expected), "descriptor {fd}, flags {flags}");
        }
    }
    assert_eq!(trace.ids(), [], "hypercalls");
    Outcome::Passed
}

/// An eventfd has one MSI in a VM, whatever descriptor names it.
pub fn same_again() -> Outcome {
    let bench = need!(Bench::new());
    let event = assigned(&bench.device, 0x31);
    let duplicate = event.duplicate();
    for event in [&event, &duplicate] {
        for vector in [0x31, 0x45] {
            let refused = assign(&bench.device, event, vector);
            assert_eq!(refused, Err(Errno::EBUSY));
        }
    }
    // The first one did not notice.
    let trace = Trace::start(&bench.probe);
    event.signal();
    assert_eq!(injected(&trace), [(bench.vmid.into(), APIC, 0x31)]);
    Outcome::Passed
}

/// Most irqfds of a VM.
const MOST: usize = 1024;

/// Those that were closed do not count.
pub fn too_many_but_closed() -> Outcome {
    let files = 2 * MOST as u64;
    setrlimit(Resource::RLIMIT_NOFILE, files, files).expect("RLIMIT_NOFILE");
    let bench = need!(Bench::new());
    for _ in 0..2 {
        let events: Vec<_> = (0..MOST).map(|_| assigned(&bench.device, 0x31)).collect();
        drop(events);
    }
    let last = assigned(&bench.device, 0x45);
    let trace = Trace::start(&bench.probe);
    last.signal();
    assert_eq!(injected(&trace), [(bench.vmid.into(), APIC, 0x45)]);
    Outcome::Passed
}

/// Two threads that assign the same eventfd at once: one of them succeeds, and a signal is one interrupt.
pub fn by_two_threads() -> Outcome {
    const ROUNDS: usize = 300;
    let bench = need!(Bench::new());
    for round in 0..ROUNDS {
        let event = Event::new();
        let barrier = Barrier::new(2);
        let assign = || {
            barrier.wait();
            assign(&bench.device, &event, 0x31)
        };
        let mut results = thread::scope(|scope| {
            [scope.spawn(assign), scope.spawn(assign)]
                .map(|thread| thread.join().expect("a thread"))
        });
        results.sort_by_key(Result::is_err);
        assert_eq!(results, [Ok(()), Err(Errno::EBUSY)], "round {round}");
        let trace = Trace::start(&bench.probe);
        event.signal();
        assert_eq!(injected(&trace).len(), 1, "round {round}");
        deassign(&bench.device, &event).expect("DEASSIGN");
    }
    Outcome::Passed
}

/// More than a VM may have: the kernel's memory for them is bounded, which upstream's is not.
pub fn too_many() -> Outcome {
    let files = 2 * MOST as u64;
    setrlimit(Resource::RLIMIT_NOFILE, files, files).expect("RLIMIT_NOFILE");
    let bench = need!(Bench::new());
    let events: Vec<_> = (0..MOST).map(|_| assigned(&bench.device, 0x31)).collect();
    let last = Event::new();
    let refused = assign(&bench.device, &last, 0x45);
    assert_eq!(refused, Err(Errno::ENOSPC));
    last.signal();
    assert_eq!(last.take(), 1, "it was taken all the same");
    deassign(&bench.device, &events[MOST / 2]).expect("DEASSIGN");
    assign(&bench.device, &last, 0x45).expect("IRQFD");
    let trace = Trace::start(&bench.probe);
    last.signal();
    assert_eq!(injected(&trace), [(bench.vmid.into(), APIC, 0x45)]);
    Outcome::Passed
}
