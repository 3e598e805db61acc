// SPDX-License-Identifier: GPL-2.0

//! Tests of DESTROY_VM, refused and successful, and of the release of resources.

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus,
    device::Device,
    guest::{Guest, MEMORY, create_raw},
    harness::Outcome,
    hypercall, leaks, need,
    probe::{Probe, fault},
    program,
    trace::Trace,
};
use acrn_uapi::ioctl::*;
use mini_acrn_channel::vm_state;
use nix::errno::Errno;

/// A file can have several VMs, one after the other (A2).
pub fn destroy_then_create() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let device = need!(Device::open());
    let page = RequestPage::new().expect("a request page");
    for _ in 0..4 {
        device.create(&page, cpus).expect("CREATE_VM");
        device
            .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
            .expect("CREATE_IOREQ_CLIENT");
        device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
        if let Ok(probe) = Probe::open() {
            probe.assert_no_vms();
        }
    }
    // Closing the file destroys the last VM.
    device.create(&page, cpus).expect("CREATE_VM");
    device.close();
    Outcome::Passed
}

/// DESTROY_VM fails if the VM is not paused, and has no effect then.
pub fn destroy_needs_pause() -> Outcome {
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program::greet_and_spin());
    guest.vm.start().expect("START_VM");
    assert_eq!(destroy(&guest), Err(Errno::EPERM));
    // The VM is still running.
    guest.serve(1, |_, _| 0);
    guest.vm.pause().expect("PAUSE_VM");
    assert_eq!(destroy(&guest), Ok(()));
    Outcome::Passed
}

fn destroy(guest: &Guest) -> Result<(), Errno> {
    let device = Device::sharing(&guest.vm);
    device.plain(ACRN_IOCTL_DESTROY_VM)
}

/// The driver passes on a refusal by the hypervisor, and the VM can be destroyed later.
pub fn destroy_refused() -> Outcome {
    let probe = need!(Probe::open());
    let (device, _page, vmid) = create_raw(need!(cpus::pick(1)));
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    probe.push_fault(fault(hypercall::DESTROY_VM, -5));
    assert_eq!(device.plain(ACRN_IOCTL_DESTROY_VM), Err(Errno::EIO));
    assert!(probe.vm(vmid).is_some());
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT after a refused DESTROY_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    probe.assert_no_vms();
    Outcome::Passed
}

/// If the hypervisor refuses to destroy a VM whose file is closed, the VM keeps its memory, and the
/// driver destroys it later (A1).
///
/// The driver cannot report the refusal, and the hypervisor may still write to the memory.
pub fn destroy_refused_at_close() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    let before = leaks::pinned_pages().expect("/proc/vmstat");
    let guest = Guest::long_mode(masks[0], &program::greet_and_spin());
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    let vmid = guest.vm.vmid();
    let pinned = leaks::pinned_pages().expect("/proc/vmstat");
    assert_eq!(
        pinned - before,
        1 + MEMORY as i64 / 4096,
        "pinned pages of request page and memory"
    );

    probe.push_fault(fault(hypercall::DESTROY_VM, -1));
    guest.close();
    let left = probe.vm(vmid).expect("the orphan");
    assert_eq!(left.state, vm_state::PAUSED);
    assert_eq!(
        leaks::pinned_pages(),
        Some(pinned),
        "pinned pages of the orphan"
    );

    // CREATE_VM makes the driver try again.
    let trace = Trace::start(&probe);
    let (_device, _page, _) = create_raw(masks[1]);
    assert_eq!(trace.calls(hypercall::DESTROY_VM).len(), 1);
    assert_eq!(probe.vms().len(), 1);
    assert_eq!(
        leaks::pinned_pages(),
        Some(before + 1),
        "pinned pages of the new VM"
    );
    Outcome::Passed
}

/// DESTROY_VM releases memory. The file need not be closed.
pub fn destroy_releases_memory() -> Outcome {
    let before = leaks::pinned_pages().expect("/proc/vmstat");
    let guest = Guest::new(need!(cpus::pick(1)));
    assert_ne!(leaks::pinned_pages(), Some(before));
    guest.vm.pause().expect("PAUSE_VM");
    assert_eq!(destroy(&guest), Ok(()));
    assert_eq!(leaks::pinned_pages(), Some(before));
    Outcome::Passed
}
