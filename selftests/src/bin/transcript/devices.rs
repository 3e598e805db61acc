// SPDX-License-Identifier: GPL-2.0

//! Cases of the commands that assign and deassign devices, and of PM_GET_CPU_STATE.

use acrn_selftests::{
    device::{Argument, Device},
    dirty::dirty_the_heap,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::*,
    mapping_fixture::MappingFixture,
    need,
    trace::Trace,
};
use acrn_uapi::{ioctl::*, *};
use zerocopy::IntoBytes;

use crate::{
    normal::changes,
    script::{Bytes, Script},
};

/// A command that assigns a device, the command that deassigns it, and their arguments.
struct Pair<'a> {
    assigns: (u32, u32),
    deassigns: (u32, u32),
    good: &'a [u8],
    /// An argument that the hypervisor refuses.
    bad: &'a [u8],
    /// The command that must assign another device first, and its argument.
    needs: Option<(u32, &'a [u8])>,
}

impl Pair<'_> {
    fn transcribe(&self) -> Outcome {
        for (request, hypercall) in [self.assigns, self.deassigns] {
            let fixture = need!(MappingFixture::new());
            let script = Script::of(&fixture.probe, request);
            script.without_vm(self.good);
            if let Some((request, bytes)) = self.needs {
                let _ = script.bytes("without_device", &fixture.device, self.good);
                let given = fixture.device.ioctl(request, Bytes::new(bytes).argument());
                given.expect("a device");
            }
            if request == self.deassigns.0 {
                let given = fixture
                    .device
                    .ioctl(self.assigns.0, self.argument().argument());
                given.expect("a device");
            }
            let device = &fixture.device;
            let _ = script.bytes("good", device, self.good);
            let _ = script.bytes("twice", device, self.good);
            let _ = script.bytes("bad", device, self.bad);
            let _ = script.bytes("all_ones", device, &vec![0xff; self.good.len()]);
            script.bad_pointers(device);
            let read_only = self.argument();
            read_only.protect();
            let _ = script.call("pointer_read_only", device, read_only.argument());
            script.refused(device, hypercall, self.good);
            device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
            let _ = script.bytes("paused", device, self.good);
            fixture.destroy();
            let _ = script.bytes("destroyed", device, self.good);
        }
        Outcome::Passed
    }

    fn argument(&self) -> Bytes {
        Bytes::new(self.good)
    }
}

/// Prints the results of SET_PTDEV_INTR and RESET_PTDEV_INTR.
pub fn ptdev_intr() -> Outcome {
    let good = acrn_ptdev_irq {
        type_: ACRN_PTDEV_IRQ_INTX,
        virt_bdf: 0x0010,
        phys_bdf: 0x0018,
        intx: acrn_ptdev_irq__bindgen_ty_1 {
            virt_pin: 5,
            phys_pin: 11,
            is_pic_pin: 0,
        },
    };
    let bad = acrn_ptdev_irq {
        type_: ACRN_PTDEV_IRQ_MSIX,
        ..good
    };
    let pair = Pair {
        assigns: (ACRN_IOCTL_SET_PTDEV_INTR, SET_PTDEV_INTR),
        deassigns: (ACRN_IOCTL_RESET_PTDEV_INTR, RESET_PTDEV_INTR),
        good: good.as_bytes(),
        bad: bad.as_bytes(),
        needs: Some((ACRN_IOCTL_ASSIGN_PCIDEV, &pci_device())),
    };
    pair.transcribe()
}

/// Prints whether the bytes that the hypervisor reads beyond the structure of an interrupt line are
/// zero.
pub fn ptdev_intr_beyond() -> Outcome {
    const ROUNDS: usize = 64;
    let fixture = need!(MappingFixture::new());
    for (request, hypercall) in [
        (ACRN_IOCTL_SET_PTDEV_INTR, SET_PTDEV_INTR),
        (ACRN_IOCTL_RESET_PTDEV_INTR, RESET_PTDEV_INTR),
    ] {
        let script = Script::of(&fixture.probe, request);
        let trace = Trace::start(&fixture.probe);
        for _ in 0..ROUNDS {
            dirty_the_heap();
            // No such interrupt line exists, which does not matter here.
            let argument = Bytes::new(&[0xff; size_of::<acrn_ptdev_irq>()]);
            let refused = fixture.device.ioctl(request, argument.argument());
            assert!(refused.is_err());
        }
        let calls = trace.calls(hypercall);
        assert_eq!(calls.len(), ROUNDS);
        let clean = calls.iter().all(|call| call.data[20..24] == [0; 4]);
        let seen = if clean { "zero" } else { "what was in memory" };
        let _ = script.case("beyond", || (Ok(()), seen.to_owned()));
    }
    fixture.destroy();
    Outcome::Passed
}

/// Returns the bytes of a `struct acrn_pcidev`. The driver also passes on the two bytes of padding.
fn pci_device() -> [u8; size_of::<acrn_pcidev>()] {
    let mut bytes = [0; _];
    bytes[..4].copy_from_slice(&ACRN_PTDEV_QUIRK_ASSIGN.to_le_bytes());
    (bytes[4], bytes[6]) = (0x10, 0x18);
    (bytes[8], bytes[9]) = (11, 1);
    (bytes[10], bytes[11]) = (0x5a, 0xa5);
    bytes[12] = 0xf0;
    bytes
}

/// Prints the results of ASSIGN_PCIDEV and DEASSIGN_PCIDEV.
pub fn pcidev() -> Outcome {
    let good = pci_device();
    let pair = Pair {
        assigns: (ACRN_IOCTL_ASSIGN_PCIDEV, ASSIGN_PCIDEV),
        deassigns: (ACRN_IOCTL_DEASSIGN_PCIDEV, DEASSIGN_PCIDEV),
        good: &good,
        bad: &[0; size_of::<acrn_pcidev>()],
        needs: None,
    };
    pair.transcribe()
}

/// Prints the results of ASSIGN_MMIODEV and DEASSIGN_MMIODEV.
pub fn mmiodev() -> Outcome {
    let range = acrn_mmio_dev_res {
        user_vm_pa: 0xd000_0000,
        service_vm_pa: 0xfed4_0000,
        size: 0x5000,
        mem_type: 0,
    };
    let none = acrn_mmio_dev_res::default();
    let good = acrn_mmiodev {
        name: *b"MSFT0101",
        res: [range, none, none],
    };
    let unaligned = acrn_mmiodev {
        name: *b"ODD\0\0\0\0\0",
        res: [acrn_mmio_dev_res { size: 8, ..range }, none, none],
    };
    let pair = Pair {
        assigns: (ACRN_IOCTL_ASSIGN_MMIODEV, ASSIGN_MMIODEV),
        deassigns: (ACRN_IOCTL_DEASSIGN_MMIODEV, DEASSIGN_MMIODEV),
        good: good.as_bytes(),
        bad: unaligned.as_bytes(),
        needs: None,
    };
    pair.transcribe()
}

/// Prints the results of CREATE_VDEV and DESTROY_VDEV.
pub fn vdev() -> Outcome {
    let mut good = [0; size_of::<acrn_vdev>()];
    // The PCI IDs of ivshmem, PCI slot 3, and arguments.
    good[..4].copy_from_slice(&0x1110_1af4_u32.to_le_bytes());
    good[8] = 0x18;
    good[64] = 0x5a;
    let mut unknown = good;
    unknown[0] = 0xff;
    let pair = Pair {
        assigns: (ACRN_IOCTL_CREATE_VDEV, CREATE_VDEV),
        deassigns: (ACRN_IOCTL_DESTROY_VDEV, DESTROY_VDEV),
        good: &good,
        bad: &unknown,
        needs: None,
    };
    pair.transcribe()
}

/// A number of bytes that exceeds the longest result.
const ROOM: usize = 64;

/// Prints the results of PM_GET_CPU_STATE.
pub fn pm_get_cpu_state() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_PM_GET_CPU_STATE);
    let command =
        |kind: u32, number: u64| u64::from(kind) | number << 8 | u64::from(fixture.vmid) << 24;
    let ask = |case: &str, device: &Device, command: u64| {
        let mut before = [0xa5; ROOM];
        before[..8].copy_from_slice(&command.to_le_bytes());
        let _ = script.bytes(case, device, &before);
    };
    let counts = command(ACRN_PMCMD_GET_CX_CNT, 0);
    ask("no_vm", &need!(Device::open()), counts);
    let other = u64::from(fixture.vmid ^ 2) << 24;
    for (case, command) in [
        ("cx_count", counts),
        ("cx_data_0", command(ACRN_PMCMD_GET_CX_DATA, 0)),
        ("cx_data_1", command(ACRN_PMCMD_GET_CX_DATA, 1)),
        ("cx_data_2", command(ACRN_PMCMD_GET_CX_DATA, 2)),
        ("cx_data_3", command(ACRN_PMCMD_GET_CX_DATA, 3)),
        ("px_count", command(ACRN_PMCMD_GET_PX_CNT, 0)),
        ("px_data", command(ACRN_PMCMD_GET_PX_DATA, 1)),
        ("unknown_4", command(4, 0)),
        ("unknown_ff", command(0xff, 0)),
        ("vcpu_5", counts | 5 << 16),
        ("other_vm", u64::from(ACRN_PMCMD_GET_CX_CNT) | other),
        ("service_vm", u64::from(ACRN_PMCMD_GET_CX_CNT)),
        ("high_bits", counts | 0xffff_ffff << 32),
    ] {
        ask(case, &fixture.device, command);
    }
    script.bad_pointers(&fixture.device);
    let data = command(ACRN_PMCMD_GET_CX_DATA, 1);
    let device = &fixture.device;
    let _ = script.bytes("little_room", device, &data.to_le_bytes());
    let read_only = GuestMemory::anonymous(PAGE);
    read_only.write::<u64>(0, counts);
    read_only.protect();
    let _ = script.case("read_only", || {
        let argument = Argument::At(&read_only, 0);
        let done = device.ioctl(ACRN_IOCTL_PM_GET_CPU_STATE, argument);
        let after = read_only.read::<u64>(0);
        (done, changes(&counts.to_le_bytes(), &after.to_le_bytes()))
    });
    script.refused(device, PM_GET_CPU_STATE, &counts.to_le_bytes());
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    ask("paused", device, counts);
    fixture.destroy();
    ask("destroyed", device, counts);
    Outcome::Passed
}
