// SPDX-License-Identifier: GPL-2.0

//! Cases of SET_MEMSEG and UNSET_MEMSEG. Each case has a VM of its own, so that cases do not affect
//! each other.

use acrn_selftests::{
    guest_memory::{GuestMemory, HUGE_PAGE, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    mapping_fixture::{GUEST, MappingFixture, ram, scattered},
    need,
    probe::{Probe, fault},
};
use acrn_uapi::{ioctl::*, *};
use mini_acrn_channel::Fault;

use crate::script::Script;

/// The HPET, a device with a page of registers.
const DEVICE: u64 = 0xfed0_0000;
const PAGE_LEN: u64 = PAGE as u64;
const RWX: u32 = ACRN_MEM_ACCESS_RWX;

/// Returns a segment with these values.
fn segment(kind: u32, guest: u64, source: u64, len: u64) -> acrn_vm_memmap {
    acrn_vm_memmap {
        type_: kind,
        attr: ACRN_MEM_TYPE_WB | RWX,
        user_vm_pa: guest,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 { vma_base: source },
        len,
    }
}

fn device(guest: u64, len: u64) -> acrn_vm_memmap {
    segment(ACRN_MEMMAP_MMIO, guest, DEVICE, len)
}

/// Returns the bytes of a segment of device memory.
fn bytes(len: u64) -> Vec<u8> {
    let kind_and_attr = u64::from(ACRN_MEM_TYPE_WB | RWX) << 32 | u64::from(ACRN_MEMMAP_MMIO);
    [kind_and_attr, GUEST, DEVICE, len]
        .map(u64::to_le_bytes)
        .concat()
}

/// Runs a case on a VM with the segments `before`.
fn case(request: u32, case: &str, before: &[acrn_vm_memmap], segment: &acrn_vm_memmap) {
    under(request, case, before, segment, None);
}

/// Runs such a case with a scripted fault.
fn under(
    request: u32,
    case: &str,
    before: &[acrn_vm_memmap],
    segment: &acrn_vm_memmap,
    fault: Option<Fault>,
) {
    let fixture = MappingFixture::new().expect("a VM, as before");
    let script = Script::of(&fixture.probe, request);
    for segment in before {
        fixture.set(*segment).expect("SET_MEMSEG");
    }
    if let Some(fault) = fault {
        fixture.probe.push_fault(fault);
    }
    let _ = script.case(case, || {
        let done = fixture.device.with(request, &mut { *segment });
        (done, format!("{:#x} bytes mapped", fixture.mapped_bytes()))
    });
    fixture.destroy();
}

/// Prints the results of SET_MEMSEG for valid RAM.
pub fn set_memseg_ram() -> Outcome {
    let _probe = need!(Probe::open());
    let set = |name: &str, segment| case(ACRN_IOCTL_SET_MEMSEG, name, &[], &segment);
    let memory = GuestMemory::anonymous(16 * PAGE);
    memory.number_pages(1);
    let whole = ram(GUEST, &memory, 0, 16 * PAGE);
    set("ram_page", ram(GUEST, &memory, 0, PAGE));
    set("ram_pages", whole);
    set(
        "ram_untouched",
        ram(GUEST, &GuestMemory::anonymous(4 * PAGE), 0, 4 * PAGE),
    );
    set(
        "ram_shared",
        ram(GUEST, &GuestMemory::shared(4 * PAGE), 0, 4 * PAGE),
    );
    set("ram_scattered", ram(GUEST, &scattered(20), 0, 20 * PAGE));
    set("ram_at_0", ram(0, &memory, 0, PAGE));
    set("ram_above_4g", ram(1 << 32, &memory, 0, PAGE));
    for (name, attr) in [
        ("ram_read_only", ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_READ),
        ("ram_without_type", RWX),
        ("ram_uncached", ACRN_MEM_TYPE_UC | RWX),
        ("ram_two_types", ACRN_MEM_TYPE_UC | ACRN_MEM_TYPE_WB | RWX),
        ("ram_no_rights", ACRN_MEM_TYPE_WB),
        (
            "ram_unknown_attributes",
            0xffff_f800 | ACRN_MEM_TYPE_WB | RWX,
        ),
    ] {
        set(name, acrn_vm_memmap { attr, ..whole });
    }
    let huge = need!(GuestMemory::huge(2 * HUGE_PAGE));
    set("ram_hugetlb", ram(GUEST, &huge, 0, 2 * HUGE_PAGE));
    set("ram_part_of_hugetlb", ram(GUEST, &huge, 0, PAGE));
    case(ACRN_IOCTL_SET_MEMSEG, "ram_twice", &[whole], &whole);
    let next = ram(GUEST + 16 * PAGE_LEN, &memory, 0, PAGE);
    case(ACRN_IOCTL_SET_MEMSEG, "ram_beside", &[whole], &next);
    let middle = ram(GUEST + 4 * PAGE_LEN, &memory, 8 * PAGE, PAGE);
    case(ACRN_IOCTL_SET_MEMSEG, "ram_over", &[whole], &middle);
    Outcome::Passed
}

/// Prints the results of SET_MEMSEG for invalid RAM.
pub fn set_memseg_bad_ram() -> Outcome {
    let _probe = need!(Probe::open());
    let memory = GuestMemory::anonymous(16 * PAGE);
    memory.number_pages(1);
    let at = |offset: u64| memory.address() + offset;
    let set = |name: &str, guest, address, len| {
        let segment = segment(ACRN_MEMMAP_RAM, guest, address, len);
        case(ACRN_IOCTL_SET_MEMSEG, name, &[], &segment);
    };
    let last = u64::MAX - 0xfff;
    set("ram_empty", GUEST, at(0), 0);
    set("ram_less_than_a_page", GUEST, at(0), 8);
    set("ram_unaligned_guest", GUEST + 8, at(0), PAGE_LEN);
    set("ram_unaligned_length", GUEST, at(0), PAGE_LEN + 8);
    set("ram_unaligned_address", GUEST, at(8), PAGE_LEN);
    set("ram_guest_wraps", last, at(0), 2 * PAGE_LEN);
    set("ram_address_wraps", GUEST, last, 2 * PAGE_LEN);
    set("ram_2^40", GUEST, at(0), 1 << 40);
    set("ram_2^44_and_a_page", GUEST, at(0), (1 << 44) + PAGE_LEN);
    set("ram_2^64_less_a_page", GUEST, at(0), last);
    set("ram_null", GUEST, 0, PAGE_LEN);
    set("ram_kernel", GUEST, 0xffff_8880_0000_1000, PAGE_LEN);
    set("ram_not_canonical", GUEST, 1 << 63, PAGE_LEN);
    let hole = GuestMemory::anonymous(4 * PAGE);
    hole.unmap(2 * PAGE, PAGE);
    set("ram_hole", GUEST, hole.address(), 4 * PAGE_LEN);
    let read_only = GuestMemory::anonymous(PAGE);
    read_only.number_pages(1);
    read_only.protect();
    set("ram_not_writable", GUEST, read_only.address(), PAGE_LEN);
    Outcome::Passed
}

/// Prints the results of SET_MEMSEG for devices, for unknown types, without arguments, and in
/// states that do not allow it.
pub fn set_memseg_others() -> Outcome {
    let _probe = need!(Probe::open());
    let set = |name: &str, segment| case(ACRN_IOCTL_SET_MEMSEG, name, &[], &segment);
    set("mmio", device(GUEST, PAGE_LEN));
    let plain = acrn_vm_memmap {
        attr: ACRN_MEM_ACCESS_READ,
        ..device(GUEST, PAGE_LEN)
    };
    set("mmio_read_only", plain);
    set("mmio_empty", device(GUEST, 0));
    set("mmio_unaligned_guest", device(GUEST + 8, PAGE_LEN));
    set("mmio_unaligned_length", device(GUEST, PAGE_LEN + 8));
    set("mmio_guest_wraps", device(u64::MAX - 0xfff, 2 * PAGE_LEN));
    let source = |source, len| segment(ACRN_MEMMAP_MMIO, GUEST, source, len);
    set("mmio_unaligned_source", source(DEVICE + 8, PAGE_LEN));
    set("mmio_from_nowhere", source(1 << 50, PAGE_LEN));
    set("mmio_source_wraps", source(u64::MAX - 0xfff, 2 * PAGE_LEN));
    for kind in [2, 3, u32::MAX] {
        set(
            &format!("type_{kind:#x}"),
            segment(kind, GUEST, DEVICE, PAGE_LEN),
        );
    }
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_SET_MEMSEG);
    let good = device(GUEST, PAGE_LEN);
    script.without_vm(&bytes(PAGE_LEN));
    script.bad_pointers(&fixture.device);
    fixture.destroy();
    let _ = script.bytes("destroyed", &fixture.device, &bytes(PAGE_LEN));
    let refused = |name: &str, segment: &acrn_vm_memmap, result| {
        let fault = Some(fault(SET_MEMORY_REGIONS, result));
        under(ACRN_IOCTL_SET_MEMSEG, name, &[], segment, fault);
    };
    refused("mmio_hypervisor_EIO", &good, -5);
    let memory = GuestMemory::anonymous(PAGE);
    let page = ram(GUEST, &memory, 0, PAGE);
    refused("ram_hypervisor_EIO", &page, -5);
    refused("ram_hypervisor_ENOTTY", &page, -25);
    let pages = scattered(20);
    let half_way = Fault {
        entry: 5,
        ..fault(SET_MEMORY_REGIONS, -5)
    };
    let pages = ram(GUEST, &pages, 0, 20 * PAGE);
    under(
        ACRN_IOCTL_SET_MEMSEG,
        "ram_half_way",
        &[],
        &pages,
        Some(half_way),
    );
    Outcome::Passed
}

/// Prints the results of UNSET_MEMSEG.
pub fn unset() -> Outcome {
    let _probe = need!(Probe::open());
    let unset = |name: &str, before: &[acrn_vm_memmap], segment| {
        case(ACRN_IOCTL_UNSET_MEMSEG, name, before, &segment);
    };
    let two = device(GUEST, 2 * PAGE_LEN);
    unset("mmio", &[two], two);
    unset("mmio_part", &[two], device(GUEST, PAGE_LEN));
    unset("mmio_not_there", &[], two);
    unset("mmio_empty", &[two], device(GUEST, 0));
    unset("mmio_unaligned_guest", &[two], device(GUEST + 8, PAGE_LEN));
    unset("mmio_unaligned_length", &[two], device(GUEST, PAGE_LEN + 8));
    unset(
        "mmio_guest_wraps",
        &[two],
        device(u64::MAX - 0xfff, 2 * PAGE_LEN),
    );
    let memory = GuestMemory::anonymous(4 * PAGE);
    memory.number_pages(1);
    let mapped = ram(GUEST, &memory, 0, 4 * PAGE);
    unset("ram", &[mapped], mapped);
    unset("ram_part", &[mapped], ram(GUEST, &memory, 0, PAGE));
    unset("ram_not_there", &[], mapped);
    let as_device = device(GUEST, 4 * PAGE_LEN);
    unset("ram_as_mmio", &[mapped], as_device);
    unset("mmio_as_ram", &[two], ram(GUEST, &memory, 0, 2 * PAGE));
    for kind in [2, u32::MAX] {
        let segment = segment(kind, GUEST, DEVICE, PAGE_LEN);
        unset(&format!("type_{kind:#x}"), &[], segment);
    }
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_UNSET_MEMSEG);
    script.without_vm(&bytes(2 * PAGE_LEN));
    script.bad_pointers(&fixture.device);
    fixture.destroy();
    let _ = script.bytes("destroyed", &fixture.device, &bytes(2 * PAGE_LEN));
    let request = ACRN_IOCTL_UNSET_MEMSEG;
    let refusal = Some(fault(SET_MEMORY_REGIONS, -5));
    under(request, "mmio_hypervisor_EIO", &[two], &two, refusal);
    under(request, "ram_hypervisor_EIO", &[mapped], &mapped, refusal);
    Outcome::Passed
}
