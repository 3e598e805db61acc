// SPDX-License-Identifier: GPL-2.0

//! Tests that RESET_VM discards the guest's requests if it succeeds, and keeps all of them if it
//! fails.

use std::sync::Arc;

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    guest::Guest,
    harness::Outcome,
    hypercall::{NOTIFY_REQUEST_FINISH, RESET_VM},
    need,
    probe::{Probe, fault},
    program::{self, read, write},
    scripted_vm::{Answer, ScriptedVm, request},
    trace::Trace,
    waiter::{Waiter, until},
};
use acrn_uapi::{
    ACRN_IOREQ_STATE_FREE, ACRN_IOREQ_STATE_PROCESSING,
    ioctl::{ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM},
};
use nix::errno::Errno;

const PORT: Target = Target::Port(0x510);
const CONFIG_ADDRESS: Target = Target::Port(0xcf8);

/// Returns EAX after the read, as stored by the program.
fn stored(guest: &Guest) -> u32 {
    guest.memory.read(program::RESULTS as usize)
}

/// Makes PAUSE_VM and RESET_VM, and starts vCPU 0 with `program`.
fn restart(guest: &Guest, program: &[u8]) {
    guest.vm.pause().expect("PAUSE_VM");
    guest.vm.reset().expect("RESET_VM");
    guest.load_long_mode(program);
    guest.vm.start().expect("START_VM");
}

/// RESET_VM discards a request in flight that was not cleared before.
///
/// The request does not belong to the device model any more, whose late NOTIFY_REQUEST_FINISH would
/// complete the next request (A13). The discarded request does not wake the device model either.
pub fn reset_drops_request() -> Outcome {
    let probe = need!(Probe::open());
    let program = program::long_mode(&[read(PORT, Width::Four)]);
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program);
    let device = Arc::new(Device::sharing(&guest.vm));
    let slot = guest.page.slot(0).expect("slot 0");
    guest.vm.start().expect("START_VM");
    guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    for late in [true, false, true] {
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_PROCESSING);
        let trace = Trace::start(&probe);
        guest.vm.pause().expect("PAUSE_VM");
        guest.vm.reset().expect("RESET_VM");
        if late {
            let notified = guest.vm.notify_request_finish(0);
            let notified = notified.map_err(|error| error.errno());
            assert_eq!(notified, Err(libc::EINVAL));
        }
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_FREE);
        assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 0);
        let waiter = Waiter::start(&device);
        restart(&guest, &program);
        assert_eq!(waiter.result(), Ok(()));
    }
    let trace = Trace::start(&probe);
    let requests = guest.serve(1, |_, _| 0x77);
    assert_eq!(requests.len(), 1);
    assert_eq!(stored(&guest), 0x77);
    trace.assert_sane();
    Outcome::Passed
}

/// RESET_VM clears the address register of PCI configuration space.
///
/// ACRN completes reads of the port itself, so the accesses are scripted.
pub fn reset_clears_config_address() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let latch = write(CONFIG_ADDRESS, Width::Four, 0x8005_1a40);
    assert_eq!(vm.ask(latch), Answer::Driver(None));
    for request in [ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM] {
        assert_eq!(vm.device.plain(request), Ok(()));
    }
    let latched = vm.ask(read(CONFIG_ADDRESS, Width::Four));
    assert_eq!(latched, Answer::Driver(Some(0)));
    Outcome::Passed
}

/// If the hypervisor refuses RESET_VM, a request in flight stays with the device model.
pub fn reset_refused() -> Outcome {
    let vm = need!(ScriptedVm::new());
    let slot = vm.page.slot(0).expect("slot 0");
    let access = read(PORT, Width::Four);
    let trace = Trace::start(&vm.probe);
    for _ in 0..3 {
        assert_eq!(vm.probe.raise(request(vm.vmid, 0, access)), 0);
        until("the device model has the request", || slot.is_ours());
        vm.probe.push_fault(fault(RESET_VM, -5));
        let reset = vm.device.plain(ACRN_IOCTL_RESET_VM);
        assert_eq!(reset, Err(Errno::EIO));
        assert!(slot.is_ours());
        assert_eq!(vm.finish(0), Ok(()));
    }
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 3);
    trace.assert_sane();
    Outcome::Passed
}

/// If the hypervisor refuses RESET_VM, the address register of PCI configuration space keeps its
/// value.
pub fn reset_refused_keeps_config_address() -> Outcome {
    const ADDRESS: u64 = 0x8005_1a40;
    let vm = need!(ScriptedVm::new());
    let latch = write(CONFIG_ADDRESS, Width::Four, ADDRESS);
    assert_eq!(vm.ask(latch), Answer::Driver(None));
    for _ in 0..2 {
        vm.probe.push_fault(fault(RESET_VM, -5));
        let reset = vm.device.plain(ACRN_IOCTL_RESET_VM);
        assert_eq!(reset, Err(Errno::EIO));
        let latched = vm.ask(read(CONFIG_ADDRESS, Width::Four));
        assert_eq!(latched, Answer::Driver(Some(ADDRESS)));
    }
    Outcome::Passed
}

/// RESET_VM discards the requests of several vCPUs in flight, which do not belong to the device
/// model any more (A13).
pub fn reset_of_several_vcpus() -> Outcome {
    const VCPUS: u16 = 3;
    let vm = need!(ScriptedVm::on(need!(cpus::pick(VCPUS.into()))));
    for _ in 0..2 {
        for vcpu in 0..VCPUS {
            let request = request(vm.vmid, vcpu, read(PORT, Width::Four));
            assert_eq!(vm.probe.raise(request), 0);
            let slot = vm.page.slot(vcpu.into()).expect("a slot");
            until("the device model has the request", || slot.is_ours());
        }
        let trace = Trace::start(&vm.probe);
        for request in [ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_RESET_VM] {
            assert_eq!(vm.device.plain(request), Ok(()));
        }
        // The thread attaches before the late notifications, because each of them would complete a
        // request that RESET_VM left behind.
        let waiter = Waiter::start(&vm.device);
        for vcpu in 0..VCPUS.into() {
            assert_eq!(vm.finish(vcpu), Err(Errno::EINVAL), "vCPU {vcpu}");
        }
        assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 0);
        let last = request(vm.vmid, VCPUS - 1, read(PORT, Width::Four));
        assert_eq!(vm.probe.raise(last), 0);
        assert_eq!(waiter.result(), Ok(()));
        assert_eq!(vm.finish((VCPUS - 1).into()), Ok(()));
    }
    Outcome::Passed
}
