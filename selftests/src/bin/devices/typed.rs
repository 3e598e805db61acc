// SPDX-License-Identifier: GPL-2.0

//! Device commands by the methods of acrn-ioctls.

use acrn_ioctls::InterruptMonitor;
use acrn_selftests::{
    cpus,
    guest::Guest,
    harness::Outcome,
    hypercall::*,
    need,
    probe::Probe,
    trace::{Trace, parameter},
};
use acrn_uapi::{acrn_pcidev, acrn_vdev};
use mini_acrn_channel::kind;
use zerocopy::{FromBytes, IntoBytes};

use crate::ownership::{LINE, PCI, VIRTUAL, mmio, pci_bytes};

/// A device of each kind is assigned and deassigned, and the hypervisor gets its description.
pub fn each_by_acrn_ioctls() -> Outcome {
    let probe = need!(Probe::open());
    let guest = Guest::without_client(need!(cpus::pick(1)));
    let vm = &guest.vm;
    let memory = mmio(b"TESTDEV0", 0xfed4_0000, 0x5000);
    let made = acrn_vdev::read_from_bytes(VIRTUAL.as_bytes()).expect("as many bytes");
    let entries = || probe.vm(vm.vmid()).map(|vm| vm.devices);

    let trace = Trace::start(&probe);
    vm.assign_pcidev(&PCI).expect("ASSIGN_PCIDEV");
    vm.set_ptdev_intr(&LINE).expect("SET_PTDEV_INTR");
    vm.assign_mmiodev(&memory).expect("ASSIGN_MMIODEV");
    vm.create_vdev(&made).expect("CREATE_VDEV");
    assert_eq!(entries(), Some(4));
    vm.destroy_vdev(&made).expect("DESTROY_VDEV");
    vm.deassign_mmiodev(&memory).expect("DEASSIGN_MMIODEV");
    vm.reset_ptdev_intr(&LINE).expect("RESET_PTDEV_INTR");
    vm.deassign_pcidev(&PCI).expect("DEASSIGN_PCIDEV");
    assert_eq!(entries(), Some(0));

    let pci = pci_bytes(&PCI);
    let expected: [(u32, &[u8]); 8] = [
        (ASSIGN_PCIDEV, &pci),
        (SET_PTDEV_INTR, LINE.as_bytes()),
        (ASSIGN_MMIODEV, memory.as_bytes()),
        (CREATE_VDEV, VIRTUAL.as_bytes()),
        (DESTROY_VDEV, VIRTUAL.as_bytes()),
        (DEASSIGN_MMIODEV, memory.as_bytes()),
        (RESET_PTDEV_INTR, LINE.as_bytes()),
        (DEASSIGN_PCIDEV, &pci),
    ];
    assert_eq!(trace.ids(), expected.map(|(id, _)| id));
    for (record, (id, bytes)) in trace.events(kind::HYPERCALL).iter().zip(expected) {
        assert_eq!(record.p1, u64::from(vm.vmid()), "{id:#x}");
        match id {
            // The structure has padding.
            ASSIGN_PCIDEV | DEASSIGN_PCIDEV => {
                assert_eq!(pci_bytes(&parameter::<acrn_pcidev>(record)), pci);
            }
            _ => assert_eq!(record.data[..bytes.len()], *bytes, "{id:#x}"),
        }
    }
    Outcome::Passed
}

/// VM_INTR_MONITOR reads and writes the page.
pub fn monitor_by_acrn_ioctls() -> Outcome {
    let _probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let apic = need!(cpus::apic_id(cpus.trailing_zeros() as usize));
    let guest = Guest::without_client(cpus);
    let vm = &guest.vm;
    for _ in 0..3 {
        let address = 0xfee0_0000 | u64::from(apic) << 12;
        vm.inject_msi(address, 0x41).expect("INJECT_MSI");
    }
    let mut page = InterruptMonitor::new();
    page.0[4] = 48;
    vm.monitor_interrupts(&mut page).expect("VM_INTR_MONITOR");
    // A command and a number of entries, then a vector and its count.
    let expected = [
        [0, 2].map(u32::to_le_bytes).concat(),
        [0x41, 3].map(u64::to_le_bytes).concat(),
    ];
    assert_eq!(page.0[..24], expected.concat());
    assert_eq!(page.0[24..], [0; 4096 - 24]);
    // An unknown command.
    page.0[0] = 9;
    let refused = vm.monitor_interrupts(&mut page);
    assert_eq!(refused.map_err(|error| error.errno()), Err(libc::EINVAL));
    Outcome::Passed
}
