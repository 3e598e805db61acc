// SPDX-License-Identifier: GPL-2.0

//! What acrn-dm does when its guest powers off or reboots, in the order in which it does it.

use std::sync::Arc;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    guest::{Guest, MEMORY},
    harness::Outcome,
    hypercall::{DESTROY_VM, NOTIFY_REQUEST_FINISH, PAUSE_VM},
    leaks::{self, Snapshot},
    need,
    probe::Probe,
    program::{self, read},
    trace::Trace,
    waiter::Waiter,
};
use acrn_uapi::ioctl::ACRN_IOCTL_DESTROY_VM;
use nix::errno::Errno;

const READ: [program::Access; 1] = [read(Target::Port(0x510), Width::Four)];

/// A guest that has said its last word, and a thread that waits for more.
fn served(cpus: u64) -> (Guest, Arc<Device>, Waiter) {
    let guest = Guest::long_mode(cpus, &program::long_mode(&READ));
    guest.vm.start().expect("START_VM");
    let asked = guest.serve(1, |_, _| 1);
    assert_eq!(asked.len(), 1);
    let device = Arc::new(Device::sharing(&guest.vm));
    let waiter = Waiter::start(&device);
    (guest, device, waiter)
}

/// Power-off: the client goes while a thread waits on it, guest memory before its VM, and a notification comes
/// late (R1).
pub fn powers_off() -> Outcome {
    let probe = need!(Probe::open());
    let before = Snapshot::take();
    let pins = leaks::pinned_pages();
    let (guest, device, waiter) = served(need!(cpus::pick(1)));
    let trace = Trace::start(&probe);
    guest.vm.pause().expect("PAUSE_VM");
    guest
        .vm
        .destroy_ioreq_client()
        .expect("DESTROY_IOREQ_CLIENT");
    assert_eq!(waiter.result(), Err(Errno::ENODEV));
    assert_eq!(guest.vm.notify_request_finish(0), Ok(()));
    guest.memory.unmap(0, MEMORY);
    guest.vm.pause().expect("PAUSE_VM");
    assert_eq!(device.plain(ACRN_IOCTL_DESTROY_VM), Ok(()));
    assert_eq!(trace.ids(), [PAUSE_VM, PAUSE_VM, DESTROY_VM]);
    // Not only when the file is closed.
    assert_eq!(leaks::pinned_pages(), pins);
    drop(device);
    guest.close();
    assert_eq!(before.leaks(), [""; 0]);
    Outcome::Passed
}

/// Reset: the thread goes on waiting, and it is for what the guest asks after its new start.
pub fn resets() -> Outcome {
    let probe = Probe::open();
    let (guest, device, mut waiter) = served(need!(cpus::pick(1)));
    let trace = probe.as_ref().ok().map(Trace::start);
    for round in 1..=3 {
        guest.vm.pause().expect("PAUSE_VM");
        guest.vm.clear_vm_ioreq().expect("CLEAR_VM_IOREQ");
        guest.vm.reset().expect("RESET_VM");
        assert!(waiter.waits(), "ATTACH_IOREQ_CLIENT returned");
        guest.load_long_mode(&program::long_mode(&READ));
        guest.vm.start().expect("START_VM");
        assert_eq!(waiter.result(), Ok(()));
        let asked = guest.serve(1, |_, _| round.into());
        assert_eq!(asked.len(), 1, "requests of round {round}");
        assert_eq!(guest.memory.read::<u32>(program::RESULTS as usize), round);
        waiter = Waiter::start(&device);
    }
    if let Some(trace) = trace {
        // The read and the word that it is done.
        assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 2 * 3);
        trace.assert_sane();
    }
    guest
        .vm
        .destroy_ioreq_client()
        .expect("DESTROY_IOREQ_CLIENT");
    assert_eq!(waiter.result(), Err(Errno::ENODEV));
    Outcome::Passed
}
