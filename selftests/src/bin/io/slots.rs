// SPDX-License-Identifier: GPL-2.0

//! Tests of scripted requests in single slots, and of the number of notifications to the
//! hypervisor.

use std::{sync::Arc, thread, time::Duration};

use acrn_ioctls::{Vm, uapi::*};
use acrn_selftests::{
    cpus,
    device::Device,
    guest::{Guest, create_raw},
    harness::Outcome,
    hypercall::{CREATE_VM, NOTIFY_REQUEST_FINISH},
    need,
    probe::{Probe, fault},
    trace::Trace,
    waiter::Waiter,
};
use acrn_uapi::ioctl::*;
use mini_acrn_channel::{Fault, RaiseRequest};
use nix::errno::Errno;
use zerocopy::FromZeros;

const PENDING: u32 = ACRN_IOREQ_STATE_PENDING;
const PROCESSING: u32 = ACRN_IOREQ_STATE_PROCESSING;
const COMPLETE: u32 = ACRN_IOREQ_STATE_COMPLETE;

/// Returns a write of 4 bytes to a port by a vCPU of `vmid`.
fn request(vmid: u16, vcpu: u16) -> RaiseRequest {
    let mut request = RaiseRequest::new_zeroed();
    request.vmid = vmid;
    request.vcpu = vcpu;
    set(&mut request, 0, ACRN_IOREQ_TYPE_PORTIO);
    set(&mut request, 64, ACRN_IOREQ_DIR_WRITE);
    set(&mut request, 72, 0x510);
    set(&mut request, 80, 4);
    set(&mut request, 88, 0x1234_5678);
    request
}

/// Sets 4 bytes of the slot.
fn set(request: &mut RaiseRequest, offset: usize, value: u32) {
    request.slot[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

const COMPLETION_POLLING: usize = 4;
const KERNEL_HANDLED: usize = 132;
const PROCESSED: usize = 136;

/// A VM that does not run. The tests script its requests.
struct SlotFixture {
    probe: Probe,
    guest: Guest,
}

impl SlotFixture {
    fn new(vcpus: usize) -> Result<Self, String> {
        let probe = Probe::open()?;
        let guest = Guest::new(cpus::pick(vcpus)?);
        Ok(Self { probe, guest })
    }

    fn vm(&self) -> &Vm {
        &self.guest.vm
    }

    fn raise(&self, request: RaiseRequest) {
        assert_eq!(self.probe.raise(request), 0, "RAISE_REQUEST");
    }

    fn attach(&self) {
        self.vm()
            .attach_ioreq_client()
            .expect("ATTACH_IOREQ_CLIENT");
    }

    fn state(&self, vcpu: u32) -> u32 {
        self.guest.page.slot(vcpu).expect("a slot").state()
    }

    /// Returns the vCPUs of all NOTIFY_REQUEST_FINISH hypercalls since `trace` began.
    fn notified(&self, trace: &Trace<'_>) -> Vec<u64> {
        let calls = trace.calls(NOTIFY_REQUEST_FINISH);
        calls.iter().map(|record| record.p2).collect()
    }

    fn notify(&self, vcpu: u32) -> Result<(), i32> {
        self.vm()
            .notify_request_finish(vcpu)
            .map_err(|error| error.errno())
    }
}

/// The second NOTIFY_REQUEST_FINISH for a request fails, and the driver does not pass it on (A13).
pub fn notify_twice() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    fixture.raise(request(fixture.vm().vmid(), 0));
    fixture.attach();
    assert_eq!(fixture.state(0), PROCESSING);
    fixture.notify(0).expect("the first NOTIFY_REQUEST_FINISH");
    assert_eq!(fixture.notify(0), Err(libc::EINVAL));
    assert_eq!(fixture.notified(&trace), [0]);
    trace.assert_sane();
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH fails for a slot without a request (A13).
pub fn notify_free_slot() -> Outcome {
    let fixture = need!(SlotFixture::new(2));
    let trace = Trace::start(&fixture.probe);
    for vcpu in [0, 1] {
        assert_eq!(fixture.notify(vcpu), Err(libc::EINVAL));
    }
    assert_eq!(fixture.notified(&trace), []);
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH fails for vCPUs that the VM does not have, even if the low 16 bits of
/// their number are those of an existing vCPU (A13).
pub fn notify_unknown_vcpu() -> Outcome {
    let fixture = need!(SlotFixture::new(2));
    let trace = Trace::start(&fixture.probe);
    fixture.raise(request(fixture.vm().vmid(), 0));
    fixture.attach();
    for vcpu in [2, 15, 16, 0xffff, 0x1_0000, 0x1_0001, 0x8000_0000, u32::MAX] {
        assert_eq!(fixture.notify(vcpu), Err(libc::EINVAL), "vCPU {vcpu:#x}");
    }
    assert_eq!(fixture.state(0), PROCESSING);
    assert_eq!(fixture.notified(&trace), []);
    fixture
        .notify(0)
        .expect("NOTIFY_REQUEST_FINISH for an existing vCPU");
    assert_eq!(fixture.notified(&trace), [0]);
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH has no effect after the ioreq client was destroyed. This can happen when a
/// device model shuts down.
pub fn notify_without_client() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    fixture.raise(request(fixture.vm().vmid(), 0));
    fixture.attach();
    fixture
        .vm()
        .destroy_ioreq_client()
        .expect("DESTROY_IOREQ_CLIENT");
    let trace = Trace::start(&fixture.probe);
    assert_eq!(fixture.notify(0), Ok(()));
    assert_eq!(fixture.notified(&trace), []);
    Outcome::Passed
}

/// The driver does not notify a hypervisor that polls the slot.
pub fn completion_polling() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    let mut polled = request(fixture.vm().vmid(), 0);
    set(&mut polled, COMPLETION_POLLING, 1);
    fixture.raise(polled);
    fixture.attach();
    fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    assert_eq!(fixture.state(0), COMPLETE);
    assert_eq!(fixture.notified(&trace), []);
    Outcome::Passed
}

/// A device model can make the slot COMPLETE itself before NOTIFY_REQUEST_FINISH.
pub fn completed_by_device_model() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    for _ in 0..3 {
        fixture.raise(request(fixture.vm().vmid(), 0));
        fixture.attach();
        let slot = fixture.guest.page.slot(0).expect("slot 0");
        assert!(slot.is_ours());
        slot.set_state(COMPLETE);
        fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    }
    assert_eq!(fixture.notified(&trace), [0; 3]);
    trace.assert_sane();
    Outcome::Passed
}

/// The driver serves the last slot of the request page if the VM has as many vCPUs as there are
/// slots.
pub fn last_slot() -> Outcome {
    let probe = need!(Probe::open());
    // mini-ACRN does not have that many CPUs. It creates one vCPU, and reports 16.
    probe.push_fault(Fault {
        after: 1,
        patch: 1,
        value: 16,
        ..fault(CREATE_VM, 0)
    });
    let fixture = need!(SlotFixture::new(1));
    assert_eq!(fixture.vm().vcpu_count(), 16);
    // mini-ACRN cannot wake that vCPU either.
    probe.push_fault(Fault {
        after: 1,
        ..fault(NOTIFY_REQUEST_FINISH, 0)
    });
    let trace = Trace::start(&probe);
    fixture.raise(request(fixture.vm().vmid(), 15));
    fixture.attach();
    assert_eq!(fixture.state(15), PROCESSING);
    assert_eq!(fixture.notify(16), Err(libc::EINVAL));
    assert_eq!(fixture.notify(15), Ok(()));
    assert_eq!(fixture.notified(&trace), [15]);
    trace.assert_sane();
    Outcome::Passed
}

/// An upcall without a request wakes no thread.
pub fn spurious_upcall() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    let waiter = Waiter::start(&Arc::new(Device::sharing(fixture.vm())));
    for _ in 0..10 {
        fixture.probe.upcall();
    }
    thread::sleep(Duration::from_millis(100));
    assert!(waiter.waits(), "ATTACH_IOREQ_CLIENT returned");
    fixture.raise(request(fixture.vm().vmid(), 0));
    assert_eq!(waiter.result(), Ok(()));
    assert_eq!(fixture.state(0), PROCESSING);
    fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    assert_eq!(fixture.notified(&trace), [0]);
    Outcome::Passed
}

/// Two upcalls for one request result in one request to the device model.
pub fn repeated_upcall() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    for _ in 0..5 {
        let mut twice = request(fixture.vm().vmid(), 0);
        twice.upcall = 2;
        fixture.raise(twice);
        fixture.attach();
        fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
        fixture.probe.upcall();
    }
    assert_eq!(fixture.notified(&trace), [0; 5]);
    assert_eq!(fixture.notify(0), Err(libc::EINVAL));
    Outcome::Passed
}

/// Upcalls coalesce. If the upcall of a request was lost, the next upcall finds the request, even
/// an upcall for another VM.
pub fn silent_request_found_later() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[2, 1]));
    let first = Guest::new(masks[0]);
    let second = Guest::new(masks[1]);
    for vcpu in [0, 1] {
        let mut silent = request(first.vm.vmid(), vcpu);
        silent.upcall = 1;
        assert_eq!(probe.raise(silent), 0);
    }
    thread::sleep(Duration::from_millis(20));
    assert_eq!(probe.raise(request(second.vm.vmid(), 0)), 0);
    for guest in [&first, &second] {
        guest.vm.attach_ioreq_client().expect("ATTACH_IOREQ_CLIENT");
    }
    for (guest, vcpu) in [(&first, 0), (&first, 1), (&second, 0)] {
        assert_eq!(guest.page.slot(vcpu).expect("a slot").state(), PROCESSING);
        guest
            .vm
            .notify_request_finish(vcpu)
            .expect("NOTIFY_REQUEST_FINISH");
    }
    Outcome::Passed
}

/// Requests in slots without a vCPU, and invalid states and types, have no effect on other slots
/// (R11).
pub fn hostile_page() -> Outcome {
    let probe = need!(Probe::open());
    let (device, page, vmid) = create_raw(need!(cpus::pick(1)));
    let device = Arc::new(device);
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    let trace = Trace::start(&probe);
    for vcpu in 1..16 {
        assert_eq!(probe.raise(request(vmid, vcpu)), 0);
    }
    for state in [4, 77, u32::MAX] {
        let mut odd = request(vmid, 0);
        odd.force = 1;
        set(&mut odd, PROCESSED, state);
        assert_eq!(probe.raise(odd), 0);
        assert_eq!(page.slot(0).expect("slot 0").state(), state);
    }
    // None of these is a request, so a waiting thread keeps waiting.
    let waiter = Waiter::start(&device);
    thread::sleep(Duration::from_millis(100));
    assert!(
        waiter.waits(),
        "ATTACH_IOREQ_CLIENT returned without a request"
    );
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 0);

    // The driver leaves a request of an unknown type to the device model.
    let mut unknown = request(vmid, 0);
    unknown.force = 1;
    set(&mut unknown, 0, 99);
    set(&mut unknown, PROCESSED, PENDING);
    assert_eq!(probe.raise(unknown), 0);
    assert_eq!(waiter.result(), Ok(()));
    let mut notify = acrn_ioreq_notify {
        vmid,
        ..Default::default()
    };
    assert_eq!(
        device.with(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &mut notify),
        Ok(())
    );
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 1);
    Outcome::Passed
}

/// The driver clears an old `kernel_handled` in the slot. The device model relies on it.
pub fn kernel_handled_is_cleared() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let mut handled = request(fixture.vm().vmid(), 0);
    set(&mut handled, KERNEL_HANDLED, 1);
    for _ in 0..2 {
        fixture.raise(handled);
        fixture.attach();
        let slot = fixture.guest.page.slot(0).expect("slot 0");
        assert_eq!(slot.state(), PROCESSING);
        assert!(!slot.is_kernel_handled(), "kernel_handled");
        fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    }
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH fails if the device model has overwritten the state of the request (R11).
pub fn scribbled_slot_is_refused() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let slot = fixture.guest.page.slot(0).expect("slot 0");
    for state in [ACRN_IOREQ_STATE_FREE, PENDING, 77, u32::MAX] {
        let trace = Trace::start(&fixture.probe);
        let mut raised = request(fixture.vm().vmid(), 0);
        raised.force = 1;
        set(&mut raised, PROCESSED, PENDING);
        fixture.raise(raised);
        fixture.attach();
        slot.set_state(state);
        assert_eq!(fixture.notify(0), Err(libc::EINVAL), "state {state}");
        assert_eq!(slot.state(), state);
        assert_eq!(fixture.notified(&trace), []);
    }
    // The driver serves the next request as usual.
    slot.set_state(ACRN_IOREQ_STATE_FREE);
    let trace = Trace::start(&fixture.probe);
    fixture.raise(request(fixture.vm().vmid(), 0));
    fixture.attach();
    fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    assert_eq!(fixture.notified(&trace), [0]);
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH with the VM id of another VM, or with a reserved field that is not zero,
/// does not complete the open request (A13).
pub fn notify_names_the_vm() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let (device, page, vmid) = create_raw(masks[0]);
    let (_other, _page, other) = create_raw(masks[1]);
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    let trace = Trace::start(&probe);
    assert_eq!(probe.raise(request(vmid, 0)), 0);
    device
        .plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT)
        .expect("ATTACH_IOREQ_CLIENT");
    let slot = page.slot(0).expect("slot 0");
    let notify = |vmid, reserved| {
        let mut notify = acrn_ioreq_notify {
            vmid,
            reserved,
            vcpu: 0,
        };
        device.with(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &mut notify)
    };
    for (named_vmid, reserved) in [
        (other, 0),
        (0, 0),
        (vmid + 0x100, 0),
        (0xffff, 0),
        (vmid, 1),
    ] {
        let refused = notify(named_vmid, reserved);
        assert_eq!(refused, Err(Errno::EINVAL), "VM {named_vmid}, {reserved}");
        assert!(slot.is_ours());
    }
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 0);
    assert_eq!(notify(vmid, 0), Ok(()));
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 1);
    trace.assert_sane();
    Outcome::Passed
}

/// If a device model makes the slot COMPLETE and is stopped before it notifies the hypervisor, the
/// driver notifies the hypervisor once. The vCPU sleeps until then.
pub fn completed_then_abandoned() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let device = Device::sharing(fixture.vm());
    let slot = fixture.guest.page.slot(0).expect("slot 0");
    for command in [ACRN_IOCTL_CLEAR_VM_IOREQ, ACRN_IOCTL_DESTROY_IOREQ_CLIENT] {
        let trace = Trace::start(&fixture.probe);
        fixture.raise(request(fixture.vm().vmid(), 0));
        fixture.attach();
        slot.set_state(COMPLETE);
        for _ in 0..2 {
            assert_eq!(device.plain(command), Ok(()));
            assert_eq!(fixture.notified(&trace), [0], "{command:#x}");
        }
        assert_eq!(slot.state(), ACRN_IOREQ_STATE_FREE);
        trace.assert_sane();
    }
    Outcome::Passed
}
