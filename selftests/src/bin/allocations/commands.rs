// SPDX-License-Identifier: GPL-2.0

//! Commands for a VM whose allocations fail.

use acrn_selftests::{
    eventfd::Eventfd, fault_injection::FaultInjection, harness::Outcome,
    mapping_fixture::MappingFixture, need,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

/// CREATE_IOREQ_CLIENT: there is no client after a failure.
pub fn create_client() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let device = &fixture.device;
    failing.each(
        // Upstream's driver returns one error for all reasons.
        &[Errno::ENOMEM, Errno::EINVAL],
        || device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT),
        |created| match created {
            Ok(()) => device
                .plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
                .expect("DESTROY_IOREQ_CLIENT"),
            Err(_) => assert_eq!(
                device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT),
                Err(Errno::ENODEV)
            ),
        },
    );
    fixture.destroy();
    Outcome::Passed
}

/// IOEVENTFD: a failed request can be repeated, and an earlier range is unaffected.
pub fn ioeventfd() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let device = &fixture.device;
    let (event, before) = (Eventfd::new(), Eventfd::new());
    let set = |event, flags| device.ioeventfd(event, flags, 0xd000_0000, 4);
    set(&before, 0).expect("IOEVENTFD");
    failing.each(
        &[Errno::ENOMEM],
        || set(&event, 0),
        |assigned| {
            if assigned.is_ok() {
                assert_eq!(set(&event, 0), Err(Errno::EEXIST));
                set(&event, ACRN_IOEVENTFD_FLAG_DEASSIGN).expect("DEASSIGN");
            }
        },
    );
    // DEASSIGN must not need memory.
    set(&event, 0).expect("IOEVENTFD");
    failing.nowhere(|| set(&event, ACRN_IOEVENTFD_FLAG_DEASSIGN));
    assert_eq!(set(&before, 0), Err(Errno::EEXIST));
    fixture.destroy();
    Outcome::Passed
}

/// IOEVENTFD with growing tables: nothing is left of a request that failed to grow the list or the
/// upcall's table. The room stays once a request has succeeded, so each request is tried once.
pub fn many_ioeventfds() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let event = Eventfd::new();
    let set = |place: u64, flags| {
        let addr = 0xd000_0000 + place * 8;
        fixture.device.ioeventfd(&event, flags, addr, 4)
    };
    // The first range also takes a reference to the eventfd.
    set(0, 0).expect("IOEVENTFD");
    let mut failures = 0;
    for place in 1..40 {
        if let Err(error) = failing.all(|| set(place, 0)) {
            assert_eq!(error, Errno::ENOMEM, "place {place}");
            set(place, 0).expect("IOEVENTFD after a failure");
            failures += 1;
        }
    }
    assert!(failures > 2, "{failures} failures");
    for place in 0..40 {
        failing.nowhere(|| set(place, ACRN_IOEVENTFD_FLAG_DEASSIGN));
    }
    fixture.destroy();
    Outcome::Passed
}

/// IRQFD: a failed request can be repeated.
pub fn irqfd() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let device = &fixture.device;
    let event = Eventfd::new();
    let set = |flags| device.irqfd(&event, flags, 0, 0);
    failing.each(
        &[Errno::ENOMEM],
        || set(0),
        |assigned| {
            if assigned.is_ok() {
                assert_eq!(set(0), Err(Errno::EBUSY));
            }
            set(ACRN_IRQFD_FLAG_DEASSIGN).expect("DEASSIGN");
        },
    );
    fixture.destroy();
    Outcome::Passed
}

/// The commands from a VM's start to its end need no memory, so that it can always be destroyed.
pub fn life_of_a_vm() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let device = &fixture.device;
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    for command in [
        ACRN_IOCTL_PAUSE_VM,
        ACRN_IOCTL_CLEAR_VM_IOREQ,
        ACRN_IOCTL_RESET_VM,
        ACRN_IOCTL_PAUSE_VM,
        ACRN_IOCTL_DESTROY_IOREQ_CLIENT,
        ACRN_IOCTL_DESTROY_VM,
    ] {
        failing.nowhere(|| device.plain(command));
    }
    assert!(
        fixture.probe.vm(fixture.vmid).is_none(),
        "the VM still exists"
    );
    fixture.assert_all_unpinned();
    Outcome::Passed
}
