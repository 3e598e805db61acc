// SPDX-License-Identifier: GPL-2.0

//! Tests of accesses to a page that SET_MEMORY_REGIONS has deleted.

use std::{mem::offset_of, thread, time::Duration};

use acrn_hypercall_abi::MemoryRegion;
use acrn_ioctls::Target;
use acrn_selftests::{
    cpus,
    guest::{Guest, MEMORY},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::*,
    need,
    probe::Probe,
    program::{ENTRY, assemble},
    region_array::{RegionArray, delete},
    waiter::until,
};
use acrn_uapi::{ACRN_MEM_ACCESS_RWX, ACRN_MEM_TYPE_WB, acrn_pcidev};
use iced_x86::code_asm::*;

/// A guest address after the guest's other memory.
const ADDRESS: u64 = MEMORY as u64;
const LEN: u64 = PAGE as u64;
/// How long the test observes a guest that must continue.
const WATCH: Duration = Duration::from_millis(500);
/// Physical BDF of a PCI device.
const PHYS_BDF: u16 = 0x00b8;

/// Returns a program that increments the word at [`ADDRESS`] in a loop.
fn count_at_address() -> Vec<u8> {
    assemble(64, ENTRY, |code| {
        code.mov(rbx, ADDRESS)?;
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.mov(qword_ptr(rbx), rax)?;
        code.inc(rax)?;
        code.pause()?;
        code.jmp(again)
    })
}

/// A guest with a page at [`ADDRESS`] that the driver does not know of.
struct Subject {
    probe: Probe,
    guest: Guest,
    page: GuestMemory,
    array: RegionArray,
}

impl Subject {
    fn new() -> Result<Self, String> {
        let page = GuestMemory::anonymous(PAGE);
        page.number_pages(0);
        let subject = Self {
            probe: Probe::open()?,
            guest: Guest::long_mode(cpus::pick(1)?, &count_at_address()),
            array: RegionArray::new()?,
            page,
        };
        subject.add(subject.page.physical_address()?);
        Ok(subject)
    }

    fn vmid(&self) -> u16 {
        self.guest.vm.vmid()
    }

    /// Maps the page at the physical address `page`.
    fn add(&self, page: u64) {
        let region = MemoryRegion {
            type_: MemoryRegion::ADD,
            attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_RWX,
            user_vm_pa: ADDRESS,
            service_vm_pa: page,
            size: LEN,
        };
        let added = self.array.set(&self.probe, self.vmid(), &[region]);
        assert_eq!(added, 0, "SET_MEMORY_REGIONS");
    }

    fn delete(&self) {
        let deleted = self
            .array
            .set(&self.probe, self.vmid(), &[delete(ADDRESS, LEN)]);
        assert_eq!(deleted, 0, "SET_MEMORY_REGIONS");
        assert_eq!(self.probe.mapping(self.vmid(), ADDRESS).mapped, 0);
    }

    fn count(&self) -> u64 {
        self.page.read(0)
    }

    #[track_caller]
    fn assert_counts(&self) {
        let count = self.count();
        until("the guest counts", || self.count() > count);
    }

    /// Waits until the guest's access becomes a request, because the page is not mapped.
    #[track_caller]
    fn assert_stopped(&self) {
        self.guest
            .vm
            .attach_ioreq_client()
            .expect("ATTACH_IOREQ_CLIENT");
        let slot = self.guest.page.slot(0).expect("slot 0");
        let request = slot.request().expect("a valid request");
        assert_eq!(request.target, Target::Memory(ADDRESS), "target");
        let count = self.count();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(self.count(), count, "counter without a mapping");
    }

    /// Makes ASSIGN_PCIDEV or DEASSIGN_PCIDEV.
    fn device(&self, id: u32) -> i64 {
        let mut device = [0; size_of::<acrn_pcidev>()];
        let mut put = |offset: usize, bdf: u16| {
            device[offset..offset + 2].copy_from_slice(&bdf.to_le_bytes());
        };
        put(offset_of!(acrn_pcidev, virt_bdf), 0x18);
        put(offset_of!(acrn_pcidev, phys_bdf), PHYS_BDF);
        self.probe
            .call_with_parameter(id, Some(self.vmid()), &device)
    }
}

/// SET_MEMORY_REGIONS kicks the vCPU when it deletes a page, but does not wait for it.
pub fn delete_kicks() -> Outcome {
    let subject = need!(Subject::new());
    subject.guest.vm.start().expect("START_VM");
    subject.assert_counts();
    subject.delete();
    subject.assert_stopped();
    Outcome::Passed
}

/// A vCPU that does not leave guest mode uses its old translation even after SET_MEMORY_REGIONS has
/// returned.
pub fn delete_does_not_flush() -> Outcome {
    let subject = need!(Subject::new());
    subject.guest.vm.start().expect("START_VM");
    subject.assert_counts();
    subject.probe.hold_kicks(true);
    subject.delete();
    for _ in 0..5 {
        thread::sleep(WATCH / 5);
        subject.assert_counts();
    }
    // The vCPU leaves guest mode for another deletion, and flushes its translations.
    subject.probe.hold_kicks(false);
    let page = subject.page.physical_address();
    subject.add(need!(page));
    subject.delete();
    subject.assert_stopped();
    Outcome::Passed
}

/// After PAUSE_VM no vCPU has old translations.
pub fn pause_flushes() -> Outcome {
    let subject = need!(Subject::new());
    subject.guest.vm.start().expect("START_VM");
    subject.assert_counts();
    subject.probe.hold_kicks(true);
    subject.delete();
    assert_eq!(subject.probe.call(PAUSE_VM, subject.vmid().into(), 0), 0);
    let count = subject.count();
    thread::sleep(WATCH);
    assert_eq!(subject.count(), count, "counter of a paused guest");
    Outcome::Passed
}

/// A passed-through device keeps its translations until it is deassigned.
pub fn device_keeps_translations() -> Outcome {
    let subject = need!(Subject::new());
    let probe = &subject.probe;
    let write = |value: u64| probe.dma_write(PHYS_BDF, ADDRESS, &value.to_le_bytes());
    let read = || probe.dma_read(PHYS_BDF, ADDRESS, 8);
    assert!(!write(1), "DMA of a device that is not assigned");
    assert_eq!(subject.device(ASSIGN_PCIDEV), 0);
    assert!(write(0x1234));
    assert_eq!(subject.count(), 0x1234);

    subject.delete();
    subject.page.write::<u64>(0, 0x5678);
    assert_eq!(read().as_deref(), Some(&0x5678u64.to_le_bytes()[..]));
    assert!(write(0x9abc));
    assert_eq!(subject.count(), 0x9abc);
    // Another page at this address does not replace the translation either.
    let other = GuestMemory::anonymous(PAGE);
    other.number_pages(0);
    subject.add(need!(other.physical_address()));
    assert!(write(0xdef0));
    assert_eq!(subject.count(), 0xdef0);
    subject.delete();

    assert_eq!(subject.device(DEASSIGN_PCIDEV), 0);
    assert!(!write(1), "DMA of a device that is not assigned");
    assert_eq!(subject.device(ASSIGN_PCIDEV), 0);
    assert_eq!(read(), None, "DMA without a mapping");
    assert_eq!(subject.device(DEASSIGN_PCIDEV), 0);
    assert_eq!(subject.count(), 0xdef0);
    Outcome::Passed
}

/// A device cannot access a deleted page of which it has no translation. After DESTROY_VM it cannot
/// access any page.
pub fn device_of_ended_vm() -> Outcome {
    let subject = need!(Subject::new());
    assert_eq!(subject.device(ASSIGN_PCIDEV), 0);
    subject.delete();
    assert_eq!(subject.probe.dma_read(PHYS_BDF, ADDRESS, 8), None);
    let read = |probe: &Probe| probe.dma_read(PHYS_BDF, 0, 8);
    assert!(read(&subject.probe).is_some());
    let Subject { probe, guest, .. } = subject;
    drop(guest);
    assert_eq!(read(&probe), None);
    Outcome::Passed
}
