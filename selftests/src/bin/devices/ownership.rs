// SPDX-License-Identifier: GPL-2.0

//! The owner of each device as recorded by the hypervisor: a device is assigned once, can be
//! deassigned, and is free once the VM is destroyed.

use acrn_ioctls::{Target, Width};
use acrn_selftests::{
    cleanup,
    guest::Guest,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{MappingFixture, whole},
    need,
    probe::Probe,
    program::{self, read},
};
use acrn_uapi::*;
use nix::errno::Errno;

use crate::command::*;

/// A PCI device that does not exist, which mini-ACRN accepts.
pub const PCI: acrn_pcidev = acrn_pcidev {
    type_: 0,
    virt_bdf: 0x18,
    phys_bdf: 0x2a8,
    intr_line: 5,
    intr_pin: 1,
    bar: [0xc000_0000, 0, 0, 0, 0, 0],
};
/// The interrupt line of [`PCI`].
pub const LINE: acrn_ptdev_irq = acrn_ptdev_irq {
    type_: ACRN_PTDEV_IRQ_INTX,
    virt_bdf: PCI.virt_bdf,
    phys_bdf: PCI.phys_bdf,
    intx: acrn_ptdev_irq__bindgen_ty_1 {
        virt_pin: 5,
        phys_pin: 11,
        is_pic_pin: 0,
    },
};
/// The ivshmem device of mini-ACRN, at 00:04.0: the first words of `acrn_vdev`.
pub const VIRTUAL: [u64; 24] = {
    let mut words = [0; 24];
    words[0] = 0x1110_1af4;
    words[1] = 4 << 3;
    words
};

/// Returns the bytes of the PCI structure, with zeros for its padding.
pub fn pci_bytes(device: &acrn_pcidev) -> [u8; 36] {
    let mut bytes = [0; 36];
    bytes[..4].copy_from_slice(&device.type_.to_ne_bytes());
    bytes[4..6].copy_from_slice(&device.virt_bdf.to_ne_bytes());
    bytes[6..8].copy_from_slice(&device.phys_bdf.to_ne_bytes());
    bytes[8..10].copy_from_slice(&[device.intr_line, device.intr_pin]);
    for (place, bar) in bytes[12..].chunks_exact_mut(4).zip(device.bar) {
        place.copy_from_slice(&bar.to_ne_bytes());
    }
    bytes
}

pub fn mmio(name: &[u8; 8], address: u64, size: u64) -> acrn_mmiodev {
    let mut device = acrn_mmiodev {
        name: *name,
        ..Default::default()
    };
    device.res[0] = acrn_mmio_dev_res {
        user_vm_pa: 0xd000_0000,
        service_vm_pa: address,
        size,
        mem_type: u64::from(ACRN_MEM_TYPE_UC),
    };
    device
}

fn entries(fixture: &MappingFixture) -> u16 {
    fixture.probe.vm(fixture.vmid).expect("the VM").devices
}

/// A device of each kind is assigned, not twice, and deassigned, not twice.
pub fn assigned_and_deassigned() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let device = mmio(b"TESTDEV0", 0xfed4_0000, 0x5000);
    let cases: [(&Command, &Command, Vec<u8>, Errno); 3] = [
        (
            &ASSIGN_PCI,
            &DEASSIGN_PCI,
            pci_bytes(&PCI).to_vec(),
            Errno::ENODEV,
        ),
        (
            &ASSIGN_MMIO,
            &DEASSIGN_MMIO,
            zerocopy::IntoBytes::as_bytes(&device).to_vec(),
            Errno::EINVAL,
        ),
        (
            &CREATE_VIRTUAL,
            &DESTROY_VIRTUAL,
            zerocopy::IntoBytes::as_bytes(&VIRTUAL).to_vec(),
            Errno::EINVAL,
        ),
    ];
    for (give, take, bytes, refusal) in &cases {
        for _ in 0..2 {
            assert_eq!(
                take.issue(&fixture.device, bytes),
                Err(*refusal),
                "{}",
                take.name()
            );
            assert_eq!(
                give.issue(&fixture.device, bytes),
                Ok(()),
                "{}",
                give.name()
            );
            assert_eq!(entries(&fixture), 1, "{}", give.name());
            assert_eq!(
                give.issue(&fixture.device, bytes),
                Err(*refusal),
                "{}",
                give.name()
            );
            assert_eq!(
                take.issue(&fixture.device, bytes),
                Ok(()),
                "{}",
                take.name()
            );
            assert_eq!(entries(&fixture), 0, "{}", take.name());
        }
    }
    fixture.destroy();
    Outcome::Passed
}

/// An interrupt line can only be routed for a device of the VM, and only as INTx.
pub fn line_of_a_device() -> Outcome {
    let fixture = need!(MappingFixture::new());
    assert_eq!(SET_LINE.with(&fixture, &LINE), Err(Errno::EPERM));
    assert_eq!(RESET_LINE.with(&fixture, &LINE), Err(Errno::EPERM));
    assert_eq!(ASSIGN_PCI.issue(&fixture.device, &pci_bytes(&PCI)), Ok(()));
    for type_ in [ACRN_PTDEV_IRQ_MSI, ACRN_PTDEV_IRQ_MSIX, u32::MAX] {
        let line = acrn_ptdev_irq { type_, ..LINE };
        assert_eq!(
            SET_LINE.with(&fixture, &line),
            Err(Errno::EPERM),
            "type {type_}"
        );
    }
    let mut other = LINE;
    other.intx.phys_pin += 1;
    assert_eq!(SET_LINE.with(&fixture, &LINE), Ok(()));
    assert_eq!(SET_LINE.with(&fixture, &other), Err(Errno::ENODEV));
    assert_eq!(entries(&fixture), 2);
    assert_eq!(RESET_LINE.with(&fixture, &LINE), Ok(()));
    assert_eq!(entries(&fixture), 1);
    assert_eq!(SET_LINE.with(&fixture, &other), Ok(()));
    fixture.destroy();
    Outcome::Passed
}

/// A device of one VM is refused to others until it is deassigned or its owner is destroyed, in
/// any way.
pub fn one_owner() -> Outcome {
    let first = need!(MappingFixture::new());
    let second = need!(MappingFixture::new());
    let bytes = pci_bytes(&PCI);
    let refused = Err(Errno::ENODEV);
    assert_eq!(ASSIGN_PCI.issue(&first.device, &bytes), Ok(()));
    assert_eq!(ASSIGN_PCI.issue(&second.device, &bytes), refused);
    assert_eq!(DEASSIGN_PCI.issue(&second.device, &bytes), refused);
    assert_eq!((entries(&first), entries(&second)), (1, 0));

    assert_eq!(DEASSIGN_PCI.issue(&first.device, &bytes), Ok(()));
    assert_eq!(ASSIGN_PCI.issue(&second.device, &bytes), Ok(()));
    second.destroy();
    assert_eq!(ASSIGN_PCI.issue(&first.device, &bytes), Ok(()));
    first.destroy();
    let third = need!(MappingFixture::new());
    assert_eq!(ASSIGN_PCI.issue(&third.device, &bytes), Ok(()));
    third.destroy();
    Outcome::Passed
}

/// A device is free after its VM's file is closed without any other command (A1).
pub fn free_after_close() -> Outcome {
    let bytes = pci_bytes(&PCI);
    for _ in 0..2 {
        let fixture = need!(MappingFixture::new());
        assert_eq!(ASSIGN_PCI.issue(&fixture.device, &bytes), Ok(()));
        cleanup::unregister(&fixture.device);
    }
    Outcome::Passed
}

/// Devices are assigned before the start and deassigned while the VM is paused. The driver passes
/// the hypervisor's refusal on.
pub fn state_matters() -> Outcome {
    let probe = need!(Probe::open());
    let access = [read(Target::Port(0x510), Width::One)];
    let cpus = need!(acrn_selftests::cpus::pick(1));
    let guest = Guest::long_mode(cpus, &program::long_mode(&access));
    let device = acrn_selftests::device::Device::sharing(&guest.vm);
    let entries = || probe.vms().first().map(|vm| vm.devices);
    let bytes = pci_bytes(&PCI);
    assert_eq!(ASSIGN_PCI.issue(&device, &bytes), Ok(()));

    guest.vm.start().expect("START_VM");
    for command in &COMMANDS {
        let refused = command.issue(&device, &vec![0; command.size()]);
        assert_eq!(refused, Err(command.wrong_state()), "{}", command.name());
    }
    assert_eq!(DEASSIGN_PCI.issue(&device, &bytes), Err(Errno::EINVAL));
    assert_eq!(entries(), Some(1));

    guest.serve(1, |_, _| 0);
    guest.vm.pause().expect("PAUSE_VM");
    for command in COMMANDS.iter().filter(|command| command.assigns()) {
        let refused = command.issue(&device, &vec![0; command.size()]);
        assert_eq!(refused, Err(command.wrong_state()), "{}", command.name());
    }
    assert_eq!(DEASSIGN_PCI.issue(&device, &bytes), Ok(()));
    assert_eq!(entries(), Some(0));
    Outcome::Passed
}

/// A VM does not have a device that the hypervisor refused, so unset memory is released at once.
pub fn refused_parks_nothing() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(4 * PAGE);
    for _ in 0..2 {
        fixture.set(whole(&memory)).expect("SET_MEMSEG");
        ASSIGN_PCI.fail_next(&fixture, Errno::EBUSY);
        let assigned = ASSIGN_PCI.issue(&fixture.device, &pci_bytes(&PCI));
        assert_eq!(assigned, Err(Errno::EBUSY));
        fixture.unset(whole(&memory)).expect("UNSET_MEMSEG");
        fixture.assert_nothing_left();
    }
    fixture.destroy();
    Outcome::Passed
}
