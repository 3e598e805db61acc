// SPDX-License-Identifier: GPL-2.0

//! Tests of the memory of a VM that the hypervisor destroyed although it returned an error, and
//! whose id another VM has.

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::DESTROY_VM,
    leaks,
    mapping_fixture::{GUEST, MappingFixture, as_mmio, ram, whole},
    need,
    probe::fault,
    status::Status,
    trace::Trace,
};
use acrn_uapi::ioctl::{ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

/// The driver unpins the old VM's pages. Commands on the old VM's file do not affect the other VM.
pub fn of_replaced_vm() -> Outcome {
    let old = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(8 * PAGE);
    memory.number_pages(0x100);
    old.set(whole(&memory)).expect("SET_MEMSEG");
    old.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    old.probe.push_fault(Fault {
        after: 1,
        ..fault(DESTROY_VM, -110)
    });
    let destroyed = old.device.plain(ACRN_IOCTL_DESTROY_VM);
    assert_eq!(destroyed, Err(Errno::ETIMEDOUT));
    assert_eq!(
        old.pinned(),
        8,
        "pinned pages before the VM is known to be destroyed"
    );

    let before = leaks::pinned_pages().expect("the kernel counts pins");
    let new = need!(MappingFixture::new());
    assert_eq!(new.vmid, old.vmid);
    // The new VM's request page is pinned, and the old VM's memory is unpinned.
    assert_eq!(leaks::pinned_pages(), Some(before - 8 + 1));
    let status = Status::of(&old.device);
    assert_eq!(status.text("state"), "ended");
    for bytes in ["mapped_bytes", "parked_bytes"] {
        assert_eq!(status.number(bytes), 0, "{bytes}");
    }
    let new_memory = GuestMemory::anonymous(8 * PAGE);
    new_memory.number_pages(0x200);
    new.set(whole(&new_memory)).expect("SET_MEMSEG");
    let trace = Trace::start(&new.probe);
    let elsewhere = ram(2 * GUEST, &memory, 0, PAGE);
    assert_eq!(old.set(elsewhere), Err(Errno::ENODEV));
    assert_eq!(old.set(whole(&memory)), Err(Errno::ENODEV));
    assert_eq!(old.unset(whole(&memory)), Err(Errno::ENODEV));
    assert_eq!(old.unset(as_mmio(whole(&memory))), Err(Errno::ENODEV));
    trace.assert_no_hypercalls();
    new.assert_shows(GUEST, &new_memory, 0, new_memory.len());
    assert_eq!(new.pinned(), 8);
    new.destroy();
    Outcome::Passed
}
