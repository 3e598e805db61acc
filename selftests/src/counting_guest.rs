// SPDX-License-Identifier: GPL-2.0

//! A guest that increments a counter in a segment of its own, and the numbers of its pages that are
//! pinned, charged and parked.

use acrn_uapi::{
    acrn_vm_memmap,
    ioctl::{ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG},
};
use nix::errno::Errno;

use crate::{
    cpus,
    device::Device,
    guest::Guest,
    guest_memory::{GuestMemory, PAGE},
    leaks,
    mapping_fixture::{locked, ram},
    probe::Probe,
    program::greet_and_count,
    status::Status,
    waiter::until,
};

/// Guest address of the counter.
pub const AT: u64 = 0x40_0000;

/// A guest that increments a counter in a segment of its own.
pub struct CountingGuest {
    /// The VM, with memory for its program.
    pub guest: Guest,
    /// The VM's file.
    pub device: Device,
    /// The hypervisor's side.
    pub probe: Probe,
    /// The memory that holds the counter.
    pub memory: GuestMemory,
    /// Number of pages that were pinned before this memory was set.
    pub pins: i64,
    locked: u64,
}

impl CountingGuest {
    /// Creates the guest without starting it. The error says why the test must be skipped.
    pub fn new(memory: GuestMemory) -> Result<Self, String> {
        let probe = Probe::open()?;
        let guest = Guest::long_mode(cpus::pick(1)?, &greet_and_count(AT));
        let counter = Self {
            device: Device::sharing(&guest.vm),
            pins: leaks::pinned_pages().ok_or("the kernel does not count pins")?,
            locked: locked(),
            guest,
            probe,
            memory,
        };
        counter.set(counter.segment()).expect("SET_MEMSEG");
        Ok(counter)
    }

    /// Creates the guest, starts it, and waits until it counts. The error says why the test must be
    /// skipped.
    pub fn running(memory: GuestMemory) -> Result<Self, String> {
        let counter = Self::new(memory)?;
        counter.start();
        Ok(counter)
    }

    /// Starts the guest and waits until it counts.
    pub fn start(&self) {
        self.memory.write::<u64>(0, 0);
        self.guest.vm.start().expect("START_VM");
        self.guest.serve(1, |_, _| 0);
        until("the guest counts", || self.memory.read::<u64>(0) > 0);
    }

    /// The VM's id.
    pub fn vmid(&self) -> u16 {
        self.guest.vm.vmid()
    }

    /// The segment that holds the counter.
    pub fn segment(&self) -> acrn_vm_memmap {
        ram(AT, &self.memory, 0, self.memory.len())
    }

    /// Makes SET_MEMSEG.
    pub fn set(&self, mut segment: acrn_vm_memmap) -> Result<(), Errno> {
        self.device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
    }

    /// Makes UNSET_MEMSEG.
    pub fn unset(&self, mut segment: acrn_vm_memmap) -> Result<(), Errno> {
        self.device.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment)
    }

    /// Panics unless `pinned` pages are pinned and charged, and `parked` of them are parked.
    #[track_caller]
    pub fn assert_pages(&self, pinned: usize, parked: usize) {
        let pins = leaks::pinned_pages().expect("the kernel counts pins") - self.pins;
        assert_eq!(pins, pinned as i64, "pinned pages");
        let reported = Status::of(&self.device).number("parked_bytes");
        assert_eq!(reported, (parked * PAGE) as u64, "parked bytes");
        assert_eq!(locked() - self.locked, (pinned * 4) as u64, "VmLck");
    }

    /// Panics unless the guest goes on counting.
    #[track_caller]
    pub fn assert_counts(&self) {
        let count = self.memory.read::<u64>(0);
        until("the guest counts", || self.memory.read::<u64>(0) > count);
    }

    /// Number of bytes that the hypervisor maps into the VM, without the memory of its program.
    pub fn mapped_bytes(&self) -> u64 {
        let vm = self.probe.vm(self.vmid()).expect("the VM");
        vm.mapped_bytes - self.guest.memory.len() as u64
    }

    /// The same number as reported by the driver.
    pub fn reported_bytes(&self) -> u64 {
        Status::of(&self.device).number("mapped_bytes") - self.guest.memory.len() as u64
    }
}
