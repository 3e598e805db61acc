// SPDX-License-Identifier: GPL-2.0

//! Arguments of 32-bit requests in both directions.

use acrn_selftests::{
    cpus,
    device::{APIC, Argument},
    eventfd::Eventfd,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall, need,
    pattern::structure,
    trace::Trace,
};
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

use crate::{compat_device::CompatDevice, machine::Machine};

/// VM_INTR_MONITOR of a 32-bit program: its number contains the size of `unsigned long`, which is
/// 4.
const VM_INTR_MONITOR: u32 = 0x4004_a224;
/// Bytes of `struct acrn_cstate_data` where 64-bit numbers are aligned to 4 bytes.
const CSTATE_I386: usize = 28;

/// Structures that are passed to the hypervisor unchanged: request, hypercall.
const STRUCTURES: [(u32, u32); 9] = [
    (ACRN_IOCTL_INJECT_MSI, hypercall::INJECT_MSI),
    (ACRN_IOCTL_SET_PTDEV_INTR, hypercall::SET_PTDEV_INTR),
    (ACRN_IOCTL_RESET_PTDEV_INTR, hypercall::RESET_PTDEV_INTR),
    (ACRN_IOCTL_ASSIGN_PCIDEV, hypercall::ASSIGN_PCIDEV),
    (ACRN_IOCTL_DEASSIGN_PCIDEV, hypercall::DEASSIGN_PCIDEV),
    (ACRN_IOCTL_ASSIGN_MMIODEV, hypercall::ASSIGN_MMIODEV),
    (ACRN_IOCTL_DEASSIGN_MMIODEV, hypercall::DEASSIGN_MMIODEV),
    (ACRN_IOCTL_CREATE_VDEV, hypercall::CREATE_VDEV),
    (ACRN_IOCTL_DESTROY_VDEV, hypercall::DESTROY_VDEV),
];

const fn size(request: u32) -> usize {
    (request >> 16 & 0x3fff) as usize
}

/// All bytes arrive.
pub fn structures_arrive() -> Outcome {
    let machine = need!(Machine::new());
    for (request, id) in STRUCTURES {
        let bytes = structure(request, 0);
        let trace = Trace::start(&machine.probe);
        // The result does not matter: the structure may be invalid.
        let _ = machine.device.bytes(request, &bytes);
        let calls = trace.calls(id);
        assert_eq!(calls.len(), 1, "{request:#x}");
        assert_eq!(calls[0].data[..bytes.len()], bytes, "{request:#x}");
    }
    machine.destroy();
    Outcome::Passed
}

/// SET_IRQLINE takes a value of 32 bits, without sign extension.
pub fn interrupt_line() -> Outcome {
    let machine = need!(Machine::new());
    let trace = Trace::start(&machine.probe);
    let set = |line| machine.device.number(ACRN_IOCTL_SET_IRQLINE, line);
    assert_eq!(set(5), Ok(()));
    assert_eq!(set(u32::MAX), Err(Errno::EPERM));
    let passed: Vec<u64> = trace
        .calls(hypercall::SET_IRQLINE)
        .iter()
        .map(|call| call.p2)
        .collect();
    assert_eq!(passed, [5, u64::from(u32::MAX)]);
    machine.destroy();
    Outcome::Passed
}

/// VM_INTR_MONITOR has another number, which is valid for 32-bit programs only.
pub fn interrupt_monitor() -> Outcome {
    let machine = need!(Machine::new());
    let vm = machine.probe.vm(machine.vmid).expect("the VM");
    let msi = acrn_msi_entry {
        msi_addr: cpus::msi(vm.cpu_affinity).expect("the machine's CPUs"),
        msi_data: 0x41,
    };
    machine
        .device
        .with(ACRN_IOCTL_INJECT_MSI, &msi)
        .expect("INJECT_MSI");
    let page = GuestMemory::low(PAGE);
    page.write::<u32>(4, 48);
    machine
        .device
        .at(VM_INTR_MONITOR, &page, 0)
        .expect("VM_INTR_MONITOR");
    assert_eq!(page.read::<u32>(4), 2);
    assert_eq!((page.read::<u64>(8), page.read::<u64>(16)), (0x41, 1));
    let wide = machine
        .device
        .wide()
        .ioctl(VM_INTR_MONITOR, Argument::At(&page, 0));
    assert_eq!(wide, Err(Errno::ENOTTY));
    machine.destroy();
    Outcome::Passed
}

/// PM_GET_CPU_STATE returns the data of a C-state in the layout of i386, and all other data
/// unchanged.
pub fn power_states() -> Outcome {
    const ROOM: usize = 56;
    let machine = need!(Machine::new());
    let ask = |kind: u32, number: u64| {
        let command = u64::from(kind) | number << 8 | u64::from(machine.vmid) << 24;
        let mut bytes = [0xa5; ROOM];
        bytes[..8].copy_from_slice(&command.to_le_bytes());
        machine.device.bytes(ACRN_IOCTL_PM_GET_CPU_STATE, &bytes)
    };
    let count = ask(ACRN_PMCMD_GET_CX_CNT, 0).expect("CX_CNT");
    assert_eq!(count[..8], 2u64.to_le_bytes());
    assert_eq!(count[8..], [0xa5; ROOM - 8]);

    // C2 of mini-ACRN: port 0x414, 80 us, 500 mW.
    let state = ask(ACRN_PMCMD_GET_CX_DATA, 2).expect("CX_DATA");
    assert_eq!(state[4..12], 0x414u64.to_le_bytes(), "address");
    assert_eq!(state[12], 2, "type");
    assert_eq!(state[16..20], 80u32.to_le_bytes(), "latency");
    assert_eq!(state[20..28], 500u64.to_le_bytes(), "power");
    assert_eq!(state[CSTATE_I386..], [0xa5; ROOM - CSTATE_I386]);
    // P1 of mini-ACRN.
    let state = ask(ACRN_PMCMD_GET_PX_DATA, 1).expect("PX_DATA");
    let expected = [1200, 6000, 20, 19, 0xc00, 0xc].map(u64::to_le_bytes);
    assert_eq!(state[..48], expected.concat());
    assert_eq!(state[48..], [0xa5; ROOM - 48]);
    assert_eq!(ask(4, 0), Err(Errno::EINVAL));

    // The structure ends where accessible memory ends.
    let mut bytes = [0; CSTATE_I386];
    let command = u64::from(ACRN_PMCMD_GET_CX_DATA) | 1 << 8 | u64::from(machine.vmid) << 24;
    bytes[..8].copy_from_slice(&command.to_le_bytes());
    let exact = machine.device.bytes(ACRN_IOCTL_PM_GET_CPU_STATE, &bytes);
    assert_eq!(exact.map(|bytes| bytes[12]), Ok(1));
    machine.destroy();
    Outcome::Passed
}

/// IOEVENTFD and IRQFD are assigned and deassigned.
pub fn eventfds() -> Outcome {
    let machine = need!(Machine::new());
    let event = Eventfd::new();
    let mut range = event.ioeventfd(ACRN_IOEVENTFD_FLAG_PIO, 0x510, 4);
    let set = |range: &acrn_ioeventfd| machine.device.with(ACRN_IOCTL_IOEVENTFD, range);
    assert!(set(&range).is_ok());
    assert_eq!(set(&range).err(), Some(Errno::EEXIST));
    range.flags |= ACRN_IOEVENTFD_FLAG_DEASSIGN;
    assert!(set(&range).is_ok());

    let mut irq = event.irqfd(0, APIC, 0x41);
    let trace = Trace::start(&machine.probe);
    assert!(machine.device.with(ACRN_IOCTL_IRQFD, &irq).is_ok());
    event.signal();
    acrn_selftests::waiter::until("the interrupt is sent", || {
        trace.calls(hypercall::INJECT_MSI).len() == 1
    });
    irq.flags = ACRN_IRQFD_FLAG_DEASSIGN;
    assert!(machine.device.with(ACRN_IOCTL_IRQFD, &irq).is_ok());
    machine.destroy();
    Outcome::Passed
}

/// Pointers to inaccessible and partly inaccessible structures are refused.
pub fn bad_pointers() -> Outcome {
    let machine = need!(Machine::new());
    let memory = GuestMemory::low(2 * PAGE);
    memory.unmap(PAGE, PAGE);
    let trace = Trace::start(&machine.probe);
    let others = [
        ACRN_IOCTL_SET_VCPU_REGS,
        ACRN_IOCTL_NOTIFY_REQUEST_FINISH,
        ACRN_IOCTL_SET_MEMSEG,
        ACRN_IOCTL_UNSET_MEMSEG,
        ACRN_IOCTL_PM_GET_CPU_STATE,
        ACRN_IOCTL_IOEVENTFD,
        ACRN_IOCTL_IRQFD,
    ];
    let device: &CompatDevice = &machine.device;
    for request in STRUCTURES.iter().map(|(request, _)| *request).chain(others) {
        for refused in [
            device.number(request, 0),
            device.number(request, 0xffff_f000),
            device.number(request, u32::MAX),
            device.at(request, &memory, PAGE),
            device.at(request, &memory, PAGE - size(request) + 1),
        ] {
            assert_eq!(refused, Err(Errno::EFAULT), "{request:#x}");
        }
    }
    trace.assert_no_hypercalls();
    machine.destroy();
    Outcome::Passed
}

/// Unknown requests are refused.
pub fn unknown_requests() -> Outcome {
    let machine = need!(Machine::new());
    let trace = Trace::start(&machine.probe);
    for request in [
        0,
        u32::MAX,
        0xa2ff,
        ACRN_IOCTL_START_VM ^ 0x100,
        ACRN_IOCTL_SET_MEMSEG ^ 8 << 16,
        // The size of its argument is the same on i386.
        ACRN_IOCTL_SET_IRQLINE ^ (8 ^ 4) << 16,
    ] {
        let refused = machine.device.plain(request);
        assert_eq!(refused, Err(Errno::ENOTTY), "{request:#x}");
    }
    trace.assert_no_hypercalls();
    machine.destroy();
    Outcome::Passed
}
