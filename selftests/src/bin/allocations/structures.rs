// SPDX-License-Identifier: GPL-2.0

//! Commands that pass a structure to the hypervisor, whose allocations fail.

use acrn_selftests::{
    device::Argument,
    fault_injection::FaultInjection,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::*,
    mapping_fixture::MappingFixture,
    need,
    probe::fault,
    trace::Trace,
};
use acrn_uapi::{ACRN_PMCMD_GET_CX_DATA, ioctl::*};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

/// Physical address of a PCI device, and its offset in the structure.
const PHYS_BDF: u16 = 0x00b8;
const PHYS_BDF_AT: usize = 6;

/// Commands and their hypercalls. Each assignment of a device is followed by its deassignment.
const COMMANDS: [(u32, u32); 11] = [
    (ACRN_IOCTL_SET_VCPU_REGS, SET_VCPU_REGS),
    (ACRN_IOCTL_VM_INTR_MONITOR, VM_INTR_MONITOR),
    (ACRN_IOCTL_SET_PTDEV_INTR, SET_PTDEV_INTR),
    (ACRN_IOCTL_RESET_PTDEV_INTR, RESET_PTDEV_INTR),
    (ACRN_IOCTL_ASSIGN_PCIDEV, ASSIGN_PCIDEV),
    (ACRN_IOCTL_DEASSIGN_PCIDEV, DEASSIGN_PCIDEV),
    (ACRN_IOCTL_ASSIGN_MMIODEV, ASSIGN_MMIODEV),
    (ACRN_IOCTL_DEASSIGN_MMIODEV, DEASSIGN_MMIODEV),
    (ACRN_IOCTL_CREATE_VDEV, CREATE_VDEV),
    (ACRN_IOCTL_DESTROY_VDEV, DESTROY_VDEV),
    (ACRN_IOCTL_PM_GET_CPU_STATE, PM_GET_CPU_STATE),
];

/// A failed command makes no hypercall, and a successful one makes one.
pub fn forwarded_structures() -> Outcome {
    let mut failing = need!(FaultInjection::new());
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGE);
    for (request, call) in COMMANDS {
        // The hypervisor accepts any structure.
        fixture.probe.push_fault(Fault {
            count: u32::MAX,
            ..fault(call, 0)
        });
        for offset in (0..PAGE).step_by(8) {
            memory.write::<u64>(offset, 0);
        }
        if matches!(call, ASSIGN_PCIDEV | DEASSIGN_PCIDEV) {
            memory.write_bytes(PHYS_BDF_AT, &PHYS_BDF.to_le_bytes());
        }
        let trace = Trace::start(&fixture.probe);
        let mut made = 0;
        failing.each(
            &[Errno::ENOMEM],
            || {
                if request == ACRN_IOCTL_PM_GET_CPU_STATE {
                    let vm = u64::from(fixture.vmid) << 24;
                    memory.write(0, u64::from(ACRN_PMCMD_GET_CX_DATA) | 1 << 8 | vm);
                }
                fixture.device.ioctl(request, Argument::At(&memory, 0))
            },
            |done| made += usize::from(done.is_ok()),
        );
        assert_eq!(trace.calls(call).len(), made, "hypercalls {}", name(call));
        fixture.probe.clear_faults();
    }
    fixture.destroy();
    Outcome::Passed
}
