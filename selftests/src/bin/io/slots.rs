// SPDX-License-Identifier: GPL-2.0

//! Single slots of the request page, raised by script: what is told to the hypervisor, and how often.

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

/// A write of 4 bytes to a port, as a vCPU of `vmid` would ask for it.
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

/// A VM that does not run: its requests are made by script.
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

    fn state(&self, vcpu: u32) -> u32 {
        self.guest.page.slot(vcpu).expect("a slot").state()
    }

    /// NOTIFY_REQUEST_FINISH hypercalls since `trace` began.
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

/// The second NOTIFY_REQUEST_FINISH for a request is refused and not passed on (A13).
pub fn notify_twice() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    fixture.raise(request(fixture.vm().vmid(), 0));
    fixture
        .vm()
        .attach_ioreq_client()
        .expect("ATTACH_IOREQ_CLIENT");
    assert_eq!(fixture.state(0), PROCESSING);
    fixture.notify(0).expect("the first");
    assert_eq!(fixture.notify(0), Err(libc::EINVAL));
    assert_eq!(fixture.notified(&trace), [0]);
    trace.assert_sane();
    Outcome::Passed
}

/// A slot that nobody asked for cannot be finished (A13).
pub fn notify_free_slot() -> Outcome {
    let fixture = need!(SlotFixture::new(2));
    let trace = Trace::start(&fixture.probe);
    for vcpu in [0, 1] {
        assert_eq!(fixture.notify(vcpu), Err(libc::EINVAL));
    }
    assert_eq!(fixture.notified(&trace), []);
    Outcome::Passed
}

/// vCPUs that the VM does not have, also those whose low 16 bits name one (A13).
pub fn notify_unknown_vcpu() -> Outcome {
    let fixture = need!(SlotFixture::new(2));
    let trace = Trace::start(&fixture.probe);
    fixture.raise(request(fixture.vm().vmid(), 0));
    fixture
        .vm()
        .attach_ioreq_client()
        .expect("ATTACH_IOREQ_CLIENT");
    for vcpu in [2, 15, 16, 0xffff, 0x1_0000, 0x1_0001, 0x8000_0000, u32::MAX] {
        assert_eq!(fixture.notify(vcpu), Err(libc::EINVAL), "vCPU {vcpu:#x}");
    }
    assert_eq!(fixture.state(0), PROCESSING);
    assert_eq!(fixture.notified(&trace), []);
    fixture.notify(0).expect("the right one");
    assert_eq!(fixture.notified(&trace), [0]);
    Outcome::Passed
}

/// A device model that shuts down may be late: harmless, and nothing is passed on.
pub fn notify_without_client() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    fixture.raise(request(fixture.vm().vmid(), 0));
    fixture
        .vm()
        .attach_ioreq_client()
        .expect("ATTACH_IOREQ_CLIENT");
    fixture
        .vm()
        .destroy_ioreq_client()
        .expect("DESTROY_IOREQ_CLIENT");
    let trace = Trace::start(&fixture.probe);
    assert_eq!(fixture.notify(0), Ok(()));
    assert_eq!(fixture.notified(&trace), []);
    Outcome::Passed
}

/// A hypervisor that polls the slot is not notified.
pub fn completion_polling() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    let mut polled = request(fixture.vm().vmid(), 0);
    set(&mut polled, COMPLETION_POLLING, 1);
    fixture.raise(polled);
    fixture
        .vm()
        .attach_ioreq_client()
        .expect("ATTACH_IOREQ_CLIENT");
    fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    assert_eq!(fixture.state(0), COMPLETE);
    assert_eq!(fixture.notified(&trace), []);
    Outcome::Passed
}

/// A device model may make the slot COMPLETE by itself, and notify then.
pub fn completed_by_device_model() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    for _ in 0..3 {
        fixture.raise(request(fixture.vm().vmid(), 0));
        fixture
            .vm()
            .attach_ioreq_client()
            .expect("ATTACH_IOREQ_CLIENT");
        let slot = fixture.guest.page.slot(0).expect("slot 0");
        assert!(slot.is_ours());
        slot.set_state(COMPLETE);
        fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    }
    assert_eq!(fixture.notified(&trace), [0; 3]);
    trace.assert_sane();
    Outcome::Passed
}

/// Of a VM with as many vCPUs as there are slots, the last one is served.
pub fn last_slot() -> Outcome {
    let probe = need!(Probe::open());
    // mini-ACRN has not that many CPUs: it makes one, and says otherwise.
    probe.push_fault(Fault {
        after: 1,
        patch: 1,
        value: 16,
        ..fault(CREATE_VM, 0)
    });
    let fixture = need!(SlotFixture::new(1));
    assert_eq!(fixture.vm().vcpu_count(), 16);
    // Nor does it know who is notified.
    probe.push_fault(Fault {
        after: 1,
        ..fault(NOTIFY_REQUEST_FINISH, 0)
    });
    let trace = Trace::start(&probe);
    fixture.raise(request(fixture.vm().vmid(), 15));
    fixture
        .vm()
        .attach_ioreq_client()
        .expect("ATTACH_IOREQ_CLIENT");
    assert_eq!(fixture.state(15), PROCESSING);
    assert_eq!(fixture.notify(16), Err(libc::EINVAL));
    assert_eq!(fixture.notify(15), Ok(()));
    assert_eq!(fixture.notified(&trace), [15]);
    trace.assert_sane();
    Outcome::Passed
}

/// An upcall with nothing behind it wakes nobody.
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

/// Two upcalls for one request make one request.
pub fn repeated_upcall() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let trace = Trace::start(&fixture.probe);
    for _ in 0..5 {
        let mut twice = request(fixture.vm().vmid(), 0);
        twice.upcall = 2;
        fixture.raise(twice);
        fixture
            .vm()
            .attach_ioreq_client()
            .expect("ATTACH_IOREQ_CLIENT");
        fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
        fixture.probe.upcall();
    }
    assert_eq!(fixture.notified(&trace), [0; 5]);
    assert_eq!(fixture.notify(0), Err(libc::EINVAL));
    Outcome::Passed
}

/// Upcalls coalesce: a request whose own upcall was lost is found by the next one, of another VM too.
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

/// Slots that the VM has no vCPUs for, and states and types that there are not, touch nobody (R11).
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
    // Nothing of this is a request: whoever waits goes on waiting.
    let waiter = Waiter::start(&device);
    thread::sleep(Duration::from_millis(100));
    assert!(waiter.waits(), "ATTACH_IOREQ_CLIENT returned");
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 0);

    // A type that there is not goes to the device model, which knows what to do.
    let mut strange = request(vmid, 0);
    strange.force = 1;
    set(&mut strange, 0, 99);
    set(&mut strange, PROCESSED, PENDING);
    assert_eq!(probe.raise(strange), 0);
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

/// A slot that says that the kernel handled it, from whenever: the device model, which goes by that, gets the request.
pub fn kernel_handled_is_cleared() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let mut handled = request(fixture.vm().vmid(), 0);
    set(&mut handled, KERNEL_HANDLED, 1);
    for _ in 0..2 {
        fixture.raise(handled);
        fixture
            .vm()
            .attach_ioreq_client()
            .expect("ATTACH_IOREQ_CLIENT");
        let slot = fixture.guest.page.slot(0).expect("slot 0");
        assert_eq!(slot.state(), PROCESSING);
        assert!(!slot.is_kernel_handled(), "kernel_handled");
        fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    }
    Outcome::Passed
}

/// A device model that scribbles on the state of a request has nothing to finish, and is told so (R11).
pub fn scribbled_slot_is_refused() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let slot = fixture.guest.page.slot(0).expect("slot 0");
    for state in [ACRN_IOREQ_STATE_FREE, PENDING, 77, u32::MAX] {
        let trace = Trace::start(&fixture.probe);
        let mut raised = request(fixture.vm().vmid(), 0);
        raised.force = 1;
        set(&mut raised, PROCESSED, PENDING);
        fixture.raise(raised);
        fixture
            .vm()
            .attach_ioreq_client()
            .expect("ATTACH_IOREQ_CLIENT");
        slot.set_state(state);
        assert_eq!(fixture.notify(0), Err(libc::EINVAL), "state {state}");
        assert_eq!(slot.state(), state);
        assert_eq!(fixture.notified(&trace), []);
    }
    // The next one is served as ever.
    slot.set_state(ACRN_IOREQ_STATE_FREE);
    let trace = Trace::start(&fixture.probe);
    fixture.raise(request(fixture.vm().vmid(), 0));
    fixture
        .vm()
        .attach_ioreq_client()
        .expect("ATTACH_IOREQ_CLIENT");
    fixture.notify(0).expect("NOTIFY_REQUEST_FINISH");
    assert_eq!(fixture.notified(&trace), [0]);
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH that names another VM, or has the reserved field set, does not finish the request that is open
/// (A13).
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
    for (named, reserved) in [
        (other, 0),
        (0, 0),
        (vmid + 0x100, 0),
        (0xffff, 0),
        (vmid, 1),
    ] {
        let refused = notify(named, reserved);
        assert_eq!(refused, Err(Errno::EINVAL), "VM {named}, {reserved}");
        assert!(slot.is_ours());
    }
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 0);
    assert_eq!(notify(vmid, 0), Ok(()));
    assert_eq!(trace.calls(NOTIFY_REQUEST_FINISH).len(), 1);
    trace.assert_sane();
    Outcome::Passed
}

/// A device model that made the slot COMPLETE by itself, and is stopped before it notifies: the driver notifies the
/// vCPU, which sleeps until then, once.
pub fn completed_then_abandoned() -> Outcome {
    let fixture = need!(SlotFixture::new(1));
    let device = Device::sharing(fixture.vm());
    let slot = fixture.guest.page.slot(0).expect("slot 0");
    for command in [ACRN_IOCTL_CLEAR_VM_IOREQ, ACRN_IOCTL_DESTROY_IOREQ_CLIENT] {
        let trace = Trace::start(&fixture.probe);
        fixture.raise(request(fixture.vm().vmid(), 0));
        fixture
            .vm()
            .attach_ioreq_client()
            .expect("ATTACH_IOREQ_CLIENT");
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
