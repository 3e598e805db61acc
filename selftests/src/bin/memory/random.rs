// SPDX-License-Identifier: GPL-2.0

//! Tests of random segments, which are checked against a model.

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{GUEST, MappingFixture, as_mmio, locked, ram, scattered},
    need,
    status::Status,
};
use acrn_uapi::{
    ACRN_MEM_ACCESS_RWX, ACRN_MEMMAP_MMIO, acrn_vm_memmap, acrn_vm_memmap__bindgen_ty_1,
};
use nix::errno::Errno;

/// The number of pages of the guest that change.
const PAGES: usize = 48;
const STEPS: usize = 600;
/// The firmware's read-only memory, which has 64 KiB.
const FIRMWARE: u64 = 0xf_0000;
const FIRMWARE_PAGES: usize = 16;

/// The contents of a page of the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Page {
    Nothing,
    /// The page with the second index, in the memory with the first index.
    Memory(usize, usize),
    Firmware(usize),
}

/// Pseudo-random numbers that are the same in each run (Knuth's constants).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

fn firmware(guest: u64, first: usize, pages: usize) -> acrn_vm_memmap {
    acrn_vm_memmap {
        type_: ACRN_MEMMAP_MMIO,
        attr: ACRN_MEM_ACCESS_RWX,
        user_vm_pa: guest,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
            service_vm_pa: FIRMWARE + (first * PAGE) as u64,
        },
        len: (pages * PAGE) as u64,
    }
}

fn check(
    fixture: &MappingFixture,
    areas: &[GuestMemory; 2],
    model: &[Page],
    locked_before: u64,
    step: usize,
) {
    for (page, has) in model.iter().enumerate() {
        let guest = GUEST + (page * PAGE) as u64;
        let query = fixture.probe.mapping(fixture.vmid, guest);
        let seen = (query.mapped == 1).then_some(query.service_vm_pa);
        match *has {
            Page::Nothing => assert_eq!(seen, None, "page {page} after step {step}"),
            Page::Firmware(number) => {
                let source = FIRMWARE + (number * PAGE) as u64;
                assert_eq!(seen, Some(source), "page {page} after step {step}");
            }
            Page::Memory(memory, number) => {
                let word = fixture.probe.read_guest(fixture.vmid, guest, 8);
                let expected = areas[memory].read::<u64>(number * PAGE).to_le_bytes();
                assert_eq!(
                    word.as_deref(),
                    Some(&expected[..]),
                    "page {page} after step {step}"
                );
            }
        }
    }
    let pages = model
        .iter()
        .filter(|has| matches!(has, Page::Memory(..)))
        .count();
    assert_eq!(fixture.pinned(), pages as i64, "pins after step {step}");
    assert_eq!(
        locked() - locked_before,
        (4 * pages) as u64,
        "VmLck after step {step}"
    );
    let reported = Status::of(&fixture.device).number("mapped_bytes");
    assert_eq!(
        reported,
        (pages * PAGE) as u64,
        "mapped_bytes after step {step}"
    );
}

/// RAM and device memory are set and unset in ranges that overlap arbitrarily. The guest, the pins,
/// VmLck and the status follow the model.
pub fn random_segments() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let areas = [GuestMemory::anonymous(PAGES * PAGE), scattered(PAGES + 2)];
    areas[0].number_pages(0x1_0000);
    let before = locked();
    let mut model = [Page::Nothing; PAGES];
    let mut random = Random(9);
    for step in 0..STEPS {
        let first = random.below(PAGES);
        let pages = 1 + random.below(PAGES - first);
        let range = first..first + pages;
        let guest = GUEST + (first * PAGE) as u64;
        match random.below(8) {
            0..=3 => {
                // The same pages are often set at the same address.
                let memory = random.below(2);
                let from = if random.below(2) == 0 { first } else { 0 };
                fixture
                    .set(ram(guest, &areas[memory], from * PAGE, pages * PAGE))
                    .expect("SET_MEMSEG");
                for page in range {
                    model[page] = Page::Memory(memory, from + page - first);
                }
            }
            4 => {
                let pages = pages.min(FIRMWARE_PAGES);
                fixture.set(firmware(guest, 0, pages)).expect("SET_MEMSEG");
                for page in 0..pages {
                    model[first + page] = Page::Firmware(page);
                }
            }
            kind => {
                let empty = model[range.clone()].iter().all(|has| *has == Page::Nothing);
                let segment = ram(guest, &areas[0], 0, pages * PAGE);
                let by_type = if kind == 5 { as_mmio(segment) } else { segment };
                let expected = if empty { Err(Errno::EINVAL) } else { Ok(()) };
                assert_eq!(fixture.unset(by_type), expected, "step {step}");
                model[range].fill(Page::Nothing);
            }
        }
        check(&fixture, &areas, &model, before, step);
    }
    fixture.destroy();
    Outcome::Passed
}
