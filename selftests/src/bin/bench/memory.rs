// SPDX-License-Identifier: GPL-2.0

//! P5: guest memory is set and released. P6: the kernel memory that it takes.

use std::fs;

use acrn_selftests::{
    cpus,
    device::Device,
    guest::create_raw,
    guest_memory::{GuestMemory, HUGE_PAGE},
    harness::{self, Outcome},
    hypercall::{DESTROY_VM, SET_MEMORY_REGIONS},
    mapping_fixture::ram,
    need,
    probe::Probe,
};
use acrn_uapi::ioctl::{ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_SET_MEMSEG};

use crate::{
    calls::QUIET,
    clock::{Samples, now, rounds_of},
    figure::Figure,
    hypervisor::Hypervisor,
    kernel_memory::KernelMemory,
};

/// Bytes of guest memory.
const SIZE: usize = 256 << 20;
/// Bytes of guest memory if nothing is measured.
const SMALL: usize = 16 << 20;
/// Its guest address, which is aligned to huge pages.
const AT: u64 = HUGE_PAGE as u64;
const GIB: u64 = 1 << 30;
const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

fn size() -> usize {
    harness::rounds().map_or(SMALL, |_| SIZE)
}

/// A kind of memory, with a function that maps it with all its pages. The error says why there is
/// none.
type Kind = (&'static str, fn(usize) -> Result<GuestMemory, String>);

const KINDS: [Kind; 3] = [
    ("4k", |len| {
        let memory = GuestMemory::anonymous(len);
        memory.number_pages(0);
        Ok(memory)
    }),
    ("thp", GuestMemory::transparent_huge),
    ("hugetlb", |len| {
        let memory = GuestMemory::huge(len)?;
        (0..len)
            .step_by(HUGE_PAGE)
            .for_each(|page| memory.write(page, 0u8));
        Ok(memory)
    }),
];

/// Enlarges the machine's pool of huge pages as long as this value lives.
struct MoreHugePages(String);

impl MoreHugePages {
    fn of(len: usize) -> Self {
        let before = fs::read_to_string(HUGE_PAGES).expect("the pool of huge pages");
        let number: usize = before.trim().parse().expect("a number of huge pages");
        let more = number + len / HUGE_PAGE;
        fs::write(HUGE_PAGES, more.to_string()).expect("more huge pages");
        Self(before)
    }
}

impl Drop for MoreHugePages {
    fn drop(&mut self) {
        let _ = fs::write(HUGE_PAGES, &self.0);
    }
}

/// Measures SET_MEMSEG and DESTROY_VM for each kind of memory.
pub fn set_and_destroy() -> Outcome {
    need!(cpus::stay_on(QUIET));
    let probe = need!(Probe::open());
    let cpu = need!(cpus::pick(1));
    let _pages = MoreHugePages::of(size());
    for (kind, memory) in KINDS {
        let memory = need!(memory(size()));
        let rounds = rounds_of(100);
        let mut samples = [const { Vec::new() }; 3];
        let hypervisor = Hypervisor::watch(&probe);
        for _ in 0..rounds {
            let (device, _page, _) = create_raw(cpu);
            let set = set(&device, &memory);
            device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
            let from = now();
            device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
            let destroy = now() - from;
            for (samples, ticks) in samples.iter_mut().zip([set + destroy, set, destroy]) {
                samples.push(ticks);
            }
        }
        let spent = hypervisor.spent_in(&[SET_MEMORY_REGIONS, DESTROY_VM], rounds);
        let [both, set, destroy] = samples.map(Samples::of);
        Figure::of("P5", kind)
            .times(&both)
            .with("set", set.median())
            .with("destroy", destroy.median())
            .with("hypervisor", spent)
            .print();
    }
    Outcome::Passed
}

/// Makes SET_MEMSEG. Returns its ticks.
fn set(device: &Device, memory: &GuestMemory) -> u64 {
    let mut segment = ram(AT, memory, 0, memory.len());
    let from = now();
    device
        .with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
        .expect("SET_MEMSEG");
    now() - from
}

/// Measures the bytes that the kernel holds for each GiB of guest memory, for each kind of memory.
pub fn held() -> Outcome {
    need!(cpus::stay_on(QUIET));
    let cpu = need!(cpus::pick(1));
    let _pages = MoreHugePages::of(size());
    for (kind, map) in KINDS {
        let memory = need!(map(size()));
        let (device, _page, _) = create_raw(cpu);
        let kernel_memory = need!(KernelMemory::watch());
        set(&device, &memory);
        let held = kernel_memory.held();
        Figure::of("P6", kind)
            .with("value", held * GIB / memory.len() as u64)
            .print();
    }
    Outcome::Passed
}
