// SPDX-License-Identifier: GPL-2.0

//! CREATE_VM whose allocations fail.

use acrn_ioctls::{RequestPage, Target, Width};
use acrn_selftests::{
    cpus,
    device::Device,
    eventfd::Eventfd,
    fault_injection::FaultInjection,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    leaks,
    mapping_fixture::{MappingFixture, locked, whole},
    module, need,
    probe::Probe,
    program::write,
    scripted_vm::request,
    waiter::until,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

const PORT: u16 = 0x510;

/// A failed CREATE_VM leaves no VM. The ioeventfds and irqfds of a created VM work (A15).
pub fn create_vm() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let device = need!(Device::open());
    let page = RequestPage::new().expect("a request page");
    failing.each(
        // Upstream's driver returns one error for all reasons.
        &[Errno::ENOMEM, Errno::EINVAL],
        || device.create(&page, cpus),
        |created| {
            if let Ok(created) = created {
                assert_works(&device, &probe, &page, created.vmid);
            }
            probe.assert_no_vms();
        },
    );
    Outcome::Passed
}

/// CREATE_VM in a module that has had no VM yet, which needs memory for its lists. The lists keep
/// the memory, so the module is loaded again for each allocation.
pub fn first_vm() -> Outcome {
    let path = need!(module::path());
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let page = RequestPage::new().expect("a request page");
    let mut failures = 0;
    for nth in 1.. {
        module::unload();
        module::load(&path);
        let mut failing = need!(FaultInjection::new());
        let device = need!(Device::open());
        let (created, has_failed) = failing.from(nth, || device.create(&page, cpus));
        match created {
            Ok(created) => assert_works(&device, &probe, &page, created.vmid),
            Err(Errno::ENOMEM | Errno::EINVAL) if has_failed => failures += 1,
            Err(error) => panic!("allocation {nth}: {error}"),
        }
        assert_eq!(probe.vms().len(), 0, "number of VMs after allocation {nth}");
        if !has_failed {
            break;
        }
    }
    assert!(failures > 2, "{failures} failures");
    Outcome::Passed
}

/// Panics unless the VM's ioeventfds and irqfds work and it can be destroyed.
fn assert_works(device: &Device, probe: &Probe, page: &RequestPage, vmid: u16) {
    let event = Eventfd::new();
    device
        .ioeventfd(&event, ACRN_IOEVENTFD_FLAG_PIO, PORT.into(), 4)
        .expect("IOEVENTFD");
    let access = write(Target::Port(PORT), Width::Four, 0);
    assert_eq!(probe.raise(request(vmid, 0, access)), 0, "RAISE_REQUEST");
    let slot = page.slot(0).expect("a slot");
    until("the request is completed", || {
        slot.state() == ACRN_IOREQ_STATE_FREE
    });
    assert_eq!(event.take(), 1);
    device.irqfd(&event, 0, 0, 0).expect("IRQFD");
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
}

/// Closes the file while there is no memory: all resources are released.
pub fn close() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let before = leaks::pinned_pages().expect("the kernel counts pins");
    let (charged, event, memory) = (locked(), Eventfd::new(), GuestMemory::anonymous(16 * PAGE));
    let fixture = need!(MappingFixture::new());
    fixture.set(whole(&memory)).expect("SET_MEMSEG");
    fixture
        .device
        .ioeventfd(&event, 0, 0xd000_0000, 4)
        .expect("IOEVENTFD");
    let MappingFixture { device, probe, .. } = fixture;
    failing.nowhere(|| {
        device.close();
        Ok(())
    });
    probe.assert_no_vms();
    assert_eq!(leaks::pinned_pages(), Some(before), "pinned pages");
    assert_eq!(locked(), charged, "VmLck");
    Outcome::Passed
}
