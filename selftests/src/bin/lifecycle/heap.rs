// SPDX-License-Identifier: GPL-2.0

//! Tests that a destroyed VM leaves no kernel memory behind.

use acrn_selftests::{
    eventfd::Eventfd,
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{MappingFixture, scattered, whole},
    need,
    objects::Objects,
    physical::FIRMWARE,
};
use acrn_uapi::{ioctl::*, *};

const ROUNDS: usize = 100;
/// Kinds of objects of which a VM of [`round`] has at least one.
const KINDS: [&str; 12] = [
    "files",
    "vms",
    "directories",
    "request_pages",
    "clients",
    "ioeventfds",
    "irqfds",
    "eventfds",
    "mappings",
    "pins",
    "pinned_pages",
    "buffers",
];

/// Creates a VM with two kinds of memory, a client, an ioeventfd and an irqfd, and destroys it.
fn round(memory: &GuestMemory) -> Result<(), String> {
    let before = Objects::count()?;
    let fixture = MappingFixture::new()?;
    let event = Eventfd::new();
    let device = &fixture.device;
    fixture.set(whole(memory)).expect("SET_MEMSEG");
    let firmware = acrn_vm_memmap {
        user_vm_pa: 0x4000_0000,
        ..fixture.device_memory(FIRMWARE)
    };
    fixture.set(firmware).expect("SET_MEMSEG");
    device
        .plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)
        .expect("CREATE_IOREQ_CLIENT");
    device
        .ioeventfd(&event, 0, 0xd000_0000, 4)
        .expect("IOEVENTFD");
    device.irqfd(&event, 0, 0, 0).expect("IRQFD");
    let there = Objects::count()?;
    for kind in KINDS {
        assert!(there.of(kind) > before.of(kind), "the VM has no {kind}");
    }
    fixture.destroy();
    Ok(())
}

/// A hundred VMs leave no object of any kind behind.
pub fn heap_does_not_grow() -> Outcome {
    let memory = scattered(64);
    assert_eq!(memory.len(), 64 * PAGE);
    let before = need!(Objects::count());
    for _ in 0..ROUNDS {
        need!(round(&memory));
        let after = need!(Objects::count());
        assert_eq!(before.growth(&after), [""; 0], "objects left behind");
    }
    Outcome::Passed
}
