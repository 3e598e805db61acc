// SPDX-License-Identifier: GPL-2.0

//! Arguments at invalid or partly invalid addresses, and unknown requests.

use acrn_selftests::{
    device::{Argument, Device},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::MappingFixture,
    need,
    trace::Trace,
};
use acrn_uapi::ioctl::*;
use nix::errno::Errno;

/// Commands on a VM that read a structure.
const WITH_STRUCTURE: [u32; 16] = [
    ACRN_IOCTL_SET_VCPU_REGS,
    ACRN_IOCTL_INJECT_MSI,
    ACRN_IOCTL_NOTIFY_REQUEST_FINISH,
    ACRN_IOCTL_SET_MEMSEG,
    ACRN_IOCTL_UNSET_MEMSEG,
    ACRN_IOCTL_SET_PTDEV_INTR,
    ACRN_IOCTL_RESET_PTDEV_INTR,
    ACRN_IOCTL_ASSIGN_PCIDEV,
    ACRN_IOCTL_DEASSIGN_PCIDEV,
    ACRN_IOCTL_ASSIGN_MMIODEV,
    ACRN_IOCTL_DEASSIGN_MMIODEV,
    ACRN_IOCTL_CREATE_VDEV,
    ACRN_IOCTL_DESTROY_VDEV,
    ACRN_IOCTL_PM_GET_CPU_STATE,
    ACRN_IOCTL_IOEVENTFD,
    ACRN_IOCTL_IRQFD,
];

fn name(request: u32) -> &'static str {
    ALL.iter()
        .find(|(number, _)| *number == request)
        .map_or("unknown", |(_, name)| name)
}

/// Panics unless `request` fails for each bad pointer.
fn check(device: &Device, request: u32) {
    // The second page is not accessible.
    let memory = GuestMemory::anonymous(2 * PAGE);
    memory.unmap(PAGE, PAGE);
    let arguments = [
        ("null", Argument::NULL),
        ("kernel memory", Argument::KERNEL),
        ("not canonical", Argument::Number(0x8000_0000_0000_0000)),
        ("the last byte", Argument::Number(u64::MAX)),
        ("unmapped", Argument::At(&memory, PAGE)),
        ("half unmapped", Argument::At(&memory, PAGE - 4)),
    ];
    for (what, argument) in arguments {
        let refused = device.ioctl(request, argument);
        assert_eq!(
            refused,
            Err(Errno::EFAULT),
            "{}, pointer: {what}",
            name(request)
        );
    }
}

/// Commands on a VM.
pub fn bad_pointers() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    for request in WITH_STRUCTURE {
        check(&fixture.device, request);
    }
    trace.assert_no_hypercalls();
    fixture.assert_nothing_left();
    fixture.destroy();
    Outcome::Passed
}

/// CREATE_VM.
pub fn create_bad_pointers() -> Outcome {
    check(&need!(Device::open()), ACRN_IOCTL_CREATE_VM);
    Outcome::Passed
}

/// Unknown numbers: of other types, of other sizes, and undefined ones.
pub fn unknown_requests() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    let other_type = 0xA300 | ACRN_IOCTL_START_VM & 0xff;
    let larger = ACRN_IOCTL_SET_MEMSEG + (8 << 16);
    let smaller = ACRN_IOCTL_INJECT_MSI - (8 << 16);
    let other_direction = ACRN_IOCTL_SET_VCPU_REGS ^ 3 << 30;
    for request in [
        0,
        u32::MAX,
        0xA200,
        0xA2FF,
        other_type,
        larger,
        smaller,
        other_direction,
    ] {
        let refused = fixture.device.plain(request);
        assert_eq!(refused, Err(Errno::ENOTTY), "{request:#x}");
    }
    trace.assert_no_hypercalls();
    fixture.destroy();
    Outcome::Passed
}
