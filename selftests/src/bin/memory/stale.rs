// SPDX-License-Identifier: GPL-2.0

//! Tests of vCPUs and devices that access unset memory through old translations. The memory must
//! not be used for other purposes meanwhile.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use acrn_selftests::{
    counting_guest::{AT, CountingGuest},
    device::Device,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::{ASSIGN_PCIDEV, PAUSE_VM, SET_MEMORY_REGIONS},
    leaks, need,
    probe::fault,
    trace::Trace,
    waiter::{SleepingCommand, until},
};
use acrn_uapi::{
    acrn_pcidev,
    ioctl::{
        ACRN_IOCTL_ASSIGN_PCIDEV, ACRN_IOCTL_DEASSIGN_PCIDEV, ACRN_IOCTL_DESTROY_VM,
        ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_UNSET_MEMSEG,
    },
};
use nix::errno::Errno;

/// The physical address of a PCI device.
const PHYS_BDF: u16 = 0x00b8;

fn pci_device() -> acrn_pcidev {
    acrn_pcidev {
        virt_bdf: 0x18,
        phys_bdf: PHYS_BDF,
        ..Default::default()
    }
}

fn device(counter: &CountingGuest, request: u32) -> Result<(), Errno> {
    counter.device.with(request, &mut pci_device())
}

fn assign(counter: &CountingGuest) {
    device(counter, ACRN_IOCTL_ASSIGN_PCIDEV).expect("ASSIGN_PCIDEV");
}

fn deassign(counter: &CountingGuest) {
    device(counter, ACRN_IOCTL_DEASSIGN_PCIDEV).expect("DEASSIGN_PCIDEV");
}

/// A vCPU that does not leave the guest continues to write to a page that is still pinned, and to
/// no other memory.
pub fn stale_vcpu() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(4 * PAGE)));
    counter.probe.hold_kicks(true);
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    for _ in 0..3 {
        let count = counter.memory.read::<u64>(0);
        until("the guest counts", || counter.memory.read::<u64>(0) > count);
    }
    counter.assert_pages(4, 4);
    // Other users of memory do not get that page, although this process unmaps it.
    counter.memory.unmap(0, 4 * PAGE);
    let others = GuestMemory::anonymous(512 * PAGE);
    for offset in (0..others.len()).step_by(8) {
        others.write::<u64>(offset, 0x5a5a);
    }
    thread::sleep(Duration::from_millis(200));
    let written = (0..others.len())
        .step_by(8)
        .find(|offset| others.read::<u64>(*offset) != 0x5a5a);
    assert_eq!(
        written, None,
        "offset of other memory that the guest wrote to"
    );
    counter.assert_pages(4, 4);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// A device uses its translations until it is deassigned, whether the VM runs or not. Until then,
/// the pages are parked.
pub fn stale_device() -> Outcome {
    let counter = need!(CountingGuest::new(GuestMemory::anonymous(2 * PAGE)));
    counter.memory.number_pages(0);
    assign(&counter);
    let dma = |value: u64| {
        let bytes = value.to_le_bytes();
        counter.probe.dma_write(PHYS_BDF, AT + PAGE as u64, &bytes)
    };
    assert!(dma(0x1111));
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    assert!(dma(0x2222));
    assert_eq!(counter.memory.read::<u64>(PAGE), 0x2222);
    counter.assert_pages(2, 2);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(2, 2);
    counter.guest.vm.reset().expect("RESET_VM");
    counter.assert_pages(2, 2);
    deassign(&counter);
    assert!(!dma(0x3333));
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// If the VM has a device and its guest runs, pages are parked until the device is deassigned and
/// no vCPU can run.
pub fn stale_vcpu_and_device() -> Outcome {
    let counter = need!(CountingGuest::new(GuestMemory::anonymous(2 * PAGE)));
    assign(&counter);
    counter.start();
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(2, 2);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(2, 2);
    deassign(&counter);
    // A vCPU of the paused VM may have run meanwhile.
    counter.assert_pages(2, 2);
    counter.guest.vm.reset().expect("RESET_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// DESTROY_VM of a VM that still has the device releases the parked pages as well.
pub fn stale_device_until_destroy() -> Outcome {
    let counter = need!(CountingGuest::new(GuestMemory::anonymous(2 * PAGE)));
    counter.memory.number_pages(0);
    assign(&counter);
    let dma = || counter.probe.dma_write(PHYS_BDF, AT, &[0x11]);
    assert!(dma());
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.guest.vm.pause().expect("PAUSE_VM");
    assert!(dma());
    counter.assert_pages(2, 2);
    let before = leaks::pinned_pages().expect("the kernel counts pins");
    counter
        .device
        .plain(ACRN_IOCTL_DESTROY_VM)
        .expect("DESTROY_VM");
    assert!(!dma());
    // The difference includes the guest's memory and its request page.
    let others = (counter.guest.memory.len() / PAGE + 1) as i64;
    assert_eq!(leaks::pinned_pages(), Some(before - 2 - others));
    Outcome::Passed
}

/// A device that the hypervisor has refused to assign does not count. A device that was assigned
/// before does.
pub fn stale_no_device() -> Outcome {
    let counter = need!(CountingGuest::new(GuestMemory::anonymous(2 * PAGE)));
    counter.probe.push_fault(fault(ASSIGN_PCIDEV, -22));
    let refused = device(&counter, ACRN_IOCTL_ASSIGN_PCIDEV);
    assert_eq!(refused, Err(Errno::EINVAL));
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(0, 0);
    assign(&counter);
    counter.set(counter.segment()).expect("SET_MEMSEG");
    counter.probe.push_fault(fault(ASSIGN_PCIDEV, -22));
    let refused = device(&counter, ACRN_IOCTL_ASSIGN_PCIDEV);
    assert_eq!(refused, Err(Errno::EINVAL));
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(2, 2);
    deassign(&counter);
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// Starts a thread whose UNSET_MEMSEG waits in the hypervisor.
fn held_unset(counter: &CountingGuest) -> JoinHandle<Result<(), Errno>> {
    let probe = &counter.probe;
    probe.hold(SET_MEMORY_REGIONS, counter.guest.vm.vmid());
    let file = Device::sharing(&counter.guest.vm);
    let mut segment = counter.segment();
    let unset = thread::spawn(move || file.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment));
    until("UNSET_MEMSEG arrives", || probe.is_held());
    unset
}

/// If START_VM occurs during UNSET_MEMSEG, the pages are parked, because the guest may have
/// accessed them.
pub fn started_while_unset() -> Outcome {
    let counter = need!(CountingGuest::new(GuestMemory::anonymous(2 * PAGE)));
    let unset = held_unset(&counter);
    let probe = &counter.probe;
    probe.hold_kicks(true);
    counter.start();
    probe.release();
    assert_eq!(unset.join().expect("the thread panicked"), Ok(()));
    counter.assert_pages(2, 2);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// PAUSE_VM waits for an UNSET_MEMSEG in progress: only pages that were unset before are released.
pub fn paused_while_unset() -> Outcome {
    let counter = need!(CountingGuest::running(GuestMemory::anonymous(2 * PAGE)));
    let unset = held_unset(&counter);
    let probe = &counter.probe;
    let trace = Trace::start(probe);
    let file = Device::sharing(&counter.guest.vm);
    let pause = SleepingCommand::start(|| true, move || file.plain(ACRN_IOCTL_PAUSE_VM));
    assert!(trace.calls(PAUSE_VM).is_empty(), "PAUSE_VM did not wait");
    counter.assert_pages(2, 0);
    probe.release();
    assert_eq!(unset.join().expect("the thread panicked"), Ok(()));
    assert_eq!(pause.result(), Ok(()), "PAUSE_VM");
    counter.guest.vm.reset().expect("RESET_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// If UNSET_MEMSEG occurs during ASSIGN_PCIDEV, the pages are parked, because the device may have
/// translations already.
pub fn unset_while_assigned() -> Outcome {
    let counter = need!(CountingGuest::new(GuestMemory::anonymous(2 * PAGE)));
    let file = Device::sharing(&counter.guest.vm);
    let assign = move || file.with(ACRN_IOCTL_ASSIGN_PCIDEV, &mut pci_device());
    let vmid = counter.guest.vm.vmid();
    let held = HeldHypercall::start(&counter.probe, ASSIGN_PCIDEV, vmid, assign);
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(2, 2);
    assert_eq!(held.release(), Ok(()), "ASSIGN_PCIDEV");
    counter.assert_pages(2, 2);
    deassign(&counter);
    counter.assert_pages(0, 0);
    Outcome::Passed
}
