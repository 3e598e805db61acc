// SPDX-License-Identifier: GPL-2.0

//! Reserved fields that are not zero, and invalid values.

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus,
    device::{Device, creation},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall,
    mapping_fixture::MappingFixture,
    need,
    probe::Probe,
    trace::Trace,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

/// SET_VCPU_REGS is refused for each reserved field that is not zero.
pub fn registers_reserved() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let changes: [fn(&mut acrn_vcpu_regs); 7] = [
        |regs| regs.reserved[0] = 1,
        |regs| regs.reserved[2] = 0x8000,
        |regs| regs.vcpu_regs.reserved_64[0] = 1,
        |regs| regs.vcpu_regs.reserved_64[3] = 1 << 63,
        |regs| regs.vcpu_regs.reserved_32[2] = 1,
        |regs| regs.vcpu_regs.gdt.reserved = [0, 1, 0],
        |regs| regs.vcpu_regs.idt.reserved = [0, 0, 1],
    ];
    let trace = Trace::start(&fixture.probe);
    for (index, change) in changes.iter().enumerate() {
        let mut regs = acrn_vcpu_regs::default();
        regs.vcpu_regs.cr0 = 0x30;
        change(&mut regs);
        let refused = fixture.device.with(ACRN_IOCTL_SET_VCPU_REGS, &mut regs);
        assert_eq!(refused, Err(Errno::EINVAL), "field {index}");
    }
    trace.assert_no_hypercalls();
    fixture.destroy();
    Outcome::Passed
}

/// SET_VCPU_REGS for a vCPU that the VM does not have: the driver passes the hypervisor's error on.
pub fn registers_of_unknown_vcpu() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    for vcpu_id in [1, 16, u16::MAX] {
        let mut regs = acrn_vcpu_regs {
            vcpu_id,
            ..Default::default()
        };
        regs.vcpu_regs.cr0 = 0x30;
        let refused = fixture.device.with(ACRN_IOCTL_SET_VCPU_REGS, &mut regs);
        assert_eq!(refused, Err(Errno::EPERM), "vCPU {vcpu_id}");
    }
    assert_eq!(trace.ids(), [hypercall::SET_VCPU_REGS; 3]);
    fixture.destroy();
    Outcome::Passed
}

/// NOTIFY_REQUEST_FINISH is refused if a reserved field is not zero, for vCPUs that the VM does not
/// have, and for other VMs.
pub fn notify_bad_fields() -> Outcome {
    let fixture = need!(MappingFixture::new());
    fixture
        .device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    let trace = Trace::start(&fixture.probe);
    let vmid = fixture.vmid;
    let arguments = [
        (vmid, 1, 0),
        (vmid, 0x8000, 0),
        (vmid, 0, 1),
        (vmid, 0, 16),
        (vmid, 0, 0x1_0000),
        (vmid, 0, u32::MAX),
        (0, 0, 0),
        (vmid + 1, 0, 0),
    ];
    for (vmid, reserved, vcpu) in arguments {
        let mut argument = acrn_ioreq_notify {
            vmid,
            reserved,
            vcpu,
        };
        let refused = fixture
            .device
            .with(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &mut argument);
        assert_eq!(refused, Err(Errno::EINVAL), "{argument:?}");
    }
    trace.assert_no_hypercalls();
    fixture.destroy();
    Outcome::Passed
}

/// CREATE_VM is refused if a reserved field is not zero, and creates no VM.
pub fn creation_reserved() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let probe = need!(Probe::open());
    let device = need!(Device::open());
    let page = RequestPage::new().expect("a request page");
    let changes: [fn(&mut acrn_vm_creation); 2] = [
        |creation| creation.reserved0 = 1,
        |creation| creation.reserved1 = 0x8000,
    ];
    let trace = Trace::start(&probe);
    for change in changes {
        let mut argument = creation(&page, cpus);
        change(&mut argument);
        let refused = device.with(ACRN_IOCTL_CREATE_VM, &mut argument);
        assert_eq!(refused, Err(Errno::EINVAL));
    }
    trace.assert_no_hypercalls();
    probe.assert_no_vms();
    Outcome::Passed
}

/// CREATE_VM is refused for an invalid request page, and creates no VM.
pub fn creation_bad_request_page() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let probe = need!(Probe::open());
    let device = need!(Device::open());
    let page = RequestPage::new().expect("a request page");
    let read_only = GuestMemory::anonymous(PAGE);
    read_only.number_pages(0);
    read_only.protect();
    let addresses = [
        0,
        page.address() + 8,
        page.address() + 0x800,
        read_only.address(),
        0xffff_8880_0000_1000,
        u64::MAX - 0xfff,
    ];
    for address in addresses {
        let mut argument = creation(&page, cpus);
        argument.ioreq_buf = address;
        let refused = device.with(ACRN_IOCTL_CREATE_VM, &mut argument);
        assert_eq!(refused, Err(Errno::EINVAL), "{address:#x}");
        assert!(probe.vms().is_empty(), "{address:#x} left a VM");
    }
    device.create(&page, cpus).expect("CREATE_VM afterwards");
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
    Outcome::Passed
}
