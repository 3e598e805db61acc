// SPDX-License-Identifier: GPL-2.0

//! Memory that is taken away from a VM that may still reach it: a vCPU goes on with the translations that it has
//! until it leaves the guest, and a passed-through device until it is de-assigned. Until then the pages stay pinned.

use acrn_selftests::{
    area::{Area, PAGE},
    bench::{ram, scattered},
    cpus,
    device::Device,
    guest::Guest,
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    leaks, need,
    probe::{Probe, fault},
    program::greet_and_count,
    status::Status,
    waiter::until,
};
use acrn_uapi::{
    acrn_vm_memmap,
    ioctl::{ACRN_IOCTL_SET_MEMSEG, ACRN_IOCTL_UNSET_MEMSEG},
};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

use crate::limits::locked;

/// Where the guest counts.
pub const AT: u64 = 0x40_0000;

/// A guest that counts in a segment of its own.
pub struct Counter {
    pub guest: Guest,
    pub device: Device,
    pub probe: Probe,
    pub area: Area,
    pins: i64,
    locked: u64,
}

impl Counter {
    /// It does not run yet.
    pub fn new(area: Area) -> Result<Self, String> {
        let probe = Probe::open()?;
        let guest = Guest::long_mode(cpus::pick(1)?, &greet_and_count(AT));
        let counter = Self {
            device: Device::sharing(&guest.vm),
            pins: leaks::pinned_pages().ok_or("the kernel does not count pins")?,
            locked: locked(),
            guest,
            probe,
            area,
        };
        counter.set(counter.segment()).expect("SET_MEMSEG");
        Ok(counter)
    }

    /// It runs, and has counted.
    pub fn running(area: Area) -> Result<Self, String> {
        let counter = Self::new(area)?;
        counter.start();
        Ok(counter)
    }

    /// Starts it, and returns when it has counted.
    pub fn start(&self) {
        self.area.write::<u64>(0, 0);
        self.guest.vm.start().expect("START_VM");
        self.guest.serve(1, |_, _| 0);
        until("the guest counts", || self.area.read::<u64>(0) > 0);
    }

    /// The segment that it counts in.
    pub fn segment(&self) -> acrn_vm_memmap {
        ram(AT, &self.area, 0, self.area.len())
    }

    /// SET_MEMSEG.
    pub fn set(&self, mut segment: acrn_vm_memmap) -> Result<(), Errno> {
        self.device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
    }

    /// UNSET_MEMSEG.
    pub fn unset(&self, mut segment: acrn_vm_memmap) -> Result<(), Errno> {
        self.device.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment)
    }

    /// Panics unless so many pages are pinned and charged, of which some are parked.
    #[track_caller]
    pub fn assert_pages(&self, pinned: usize, parked: usize) {
        let pins = leaks::pinned_pages().expect("counted before") - self.pins;
        assert_eq!(pins, pinned as i64, "pinned pages");
        let told = Status::of(&self.device).number("parked_bytes");
        assert_eq!(told, (parked * PAGE) as u64, "parked bytes");
        assert_eq!(locked() - self.locked, (pinned * 4) as u64, "VmLck");
    }
}

/// While the guest runs they stay; PAUSE_VM gives them back.
pub fn until_pause() -> Outcome {
    let counter = need!(Counter::running(Area::anonymous(8 * PAGE)));
    counter.assert_pages(8, 0);
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    assert_eq!(counter.probe.mapping(counter.guest.vm.vmid(), AT).mapped, 0);
    counter.assert_pages(8, 8);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(0, 0);
    Outcome::Passed
}

/// The VM never ran, or is paused, or was reset: nothing waits.
pub fn not_while_stopped() -> Outcome {
    let counter = need!(Counter::new(Area::anonymous(8 * PAGE)));
    let round = || {
        counter.unset(counter.segment()).expect("UNSET_MEMSEG");
        counter.assert_pages(0, 0);
        counter.set(counter.segment()).expect("SET_MEMSEG");
        counter.assert_pages(8, 0);
    };
    round();
    counter.start();
    counter.guest.vm.pause().expect("PAUSE_VM");
    round();
    counter.guest.vm.reset().expect("RESET_VM");
    round();
    // And again while it runs.
    counter.guest.load_long_mode(&greet_and_count(AT));
    counter.start();
    counter.unset(counter.segment()).expect("UNSET_MEMSEG");
    counter.assert_pages(8, 8);
    Outcome::Passed
}

/// What was parked before the VM was paused does not go on waiting when it is reset and runs again.
pub fn once() -> Outcome {
    let counter = need!(Counter::running(Area::anonymous(4 * PAGE)));
    for _ in 0..3 {
        counter.unset(counter.segment()).expect("UNSET_MEMSEG");
        counter.assert_pages(4, 4);
        counter.guest.vm.pause().expect("PAUSE_VM");
        counter.guest.vm.reset().expect("RESET_VM");
        counter.assert_pages(0, 0);
        counter.set(counter.segment()).expect("SET_MEMSEG");
        counter.guest.load_long_mode(&greet_and_count(AT));
        counter.start();
    }
    Outcome::Passed
}

/// The file is closed: they go with the VM.
pub fn until_close() -> Outcome {
    let Counter {
        guest,
        device,
        probe,
        area,
        pins,
        ..
    } = need!(Counter::running(Area::anonymous(8 * PAGE)));
    let mut segment = ram(AT, &area, 0, area.len());
    device
        .with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment)
        .expect("UNSET_MEMSEG");
    assert_eq!(leaks::pinned_pages(), Some(pins + 8));
    drop(device);
    guest.close();
    assert_eq!(probe.vms().len(), 0, "VMs");
    assert!(leaks::pinned_pages().expect("counted") < pins);
    Outcome::Passed
}

/// SET_MEMSEG fails half-way: what the guest could see for a moment waits as well.
pub fn rolled_back() -> Outcome {
    const PAGES: usize = 16;
    let counter = need!(Counter::running(Area::anonymous(PAGE)));
    let area = scattered(PAGES);
    counter.probe.push_fault(Fault {
        entry: 5,
        ..fault(SET_MEMORY_REGIONS, -12)
    });
    let segment = ram(2 * AT, &area, 0, area.len());
    assert_eq!(counter.set(segment), Err(Errno::ENOMEM));
    let mapped = counter.probe.vm(counter.guest.vm.vmid()).expect("the VM");
    let memory = (counter.guest.memory.len() + PAGE) as u64;
    assert_eq!(mapped.mapped_bytes, memory);
    counter.assert_pages(1 + PAGES, PAGES);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(1, 0);
    Outcome::Passed
}

/// Other memory is set over it, and a part is taken away.
pub fn parts() -> Outcome {
    let counter = need!(Counter::running(Area::anonymous(8 * PAGE)));
    let other = Area::anonymous(4 * PAGE);
    other.number_pages(0x77);
    let over = ram(AT + 2 * PAGE as u64, &other, 0, 4 * PAGE);
    counter.set(over).expect("SET_MEMSEG");
    counter.assert_pages(12, 4);
    let vmid = counter.guest.vm.vmid();
    let seen = counter.probe.read_guest(vmid, AT + 3 * PAGE as u64, 8);
    assert_eq!(seen, Some(0x78_u64.to_le_bytes().to_vec()));
    let part = ram(AT + 5 * PAGE as u64, &counter.area, 5 * PAGE, 2 * PAGE);
    counter.unset(part).expect("UNSET_MEMSEG");
    counter.assert_pages(12, 6);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(6, 0);
    Outcome::Passed
}

/// There is an end of it: the VM must be paused some time.
pub fn not_without_end() -> Outcome {
    const PIECES: usize = 16384;
    let counter = need!(Counter::running(Area::anonymous(PAGE)));
    let area = Area::anonymous(PAGE);
    let segment = || ram(2 * AT, &area, 0, PAGE);
    for _ in 0..PIECES {
        counter.set(segment()).expect("SET_MEMSEG");
        counter.unset(segment()).expect("UNSET_MEMSEG");
    }
    assert_eq!(counter.unset(counter.segment()), Err(Errno::ENOSPC));
    assert_eq!(counter.set(segment()), Err(Errno::ENOSPC));
    counter.assert_pages(1 + PIECES, PIECES);
    counter.guest.vm.pause().expect("PAUSE_VM");
    counter.assert_pages(1, 0);
    counter.set(segment()).expect("SET_MEMSEG");
    Outcome::Passed
}
