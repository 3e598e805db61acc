// SPDX-License-Identifier: GPL-2.0

//! Memory of a VM that the hypervisor destroyed though it returned an error, and whose id another VM has.

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

/// Its pins are given back, and what is asked of it is not done to the other VM.
pub fn replaced() -> Outcome {
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
    assert_eq!(old.pinned(), 8, "nothing proves that it is gone");

    let before = leaks::pinned_pages().expect("counted before");
    let new = need!(MappingFixture::new());
    assert_eq!(new.vmid, old.vmid);
    // The new VM's request page came, and the old one's memory went.
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
    assert_eq!(trace.ids(), [], "hypercalls");
    new.assert_shows(GUEST, &new_memory, 0, new_memory.len());
    assert_eq!(new.pinned(), 8);
    new.destroy();
    Outcome::Passed
}
