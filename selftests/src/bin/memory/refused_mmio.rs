// SPDX-License-Identifier: GPL-2.0

//! Tests of physical memory that user space may set neither as memory nor as a device of a guest:
//! the kernel's RAM, addresses beyond the CPU's last one, and all physical memory if the kernel is
//! locked down.

use std::fs;

use acrn_selftests::{
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall::SET_MEMORY_REGIONS,
    mapping_fixture::{GUEST, MappingFixture},
    module::Lockdown,
    need,
    trace::Trace,
};
use acrn_uapi::{
    acrn_mmio_dev_res, acrn_mmiodev, acrn_vm_memmap,
    ioctl::{ACRN_IOCTL_ASSIGN_MMIODEV, ACRN_IOCTL_DEASSIGN_MMIODEV},
};
use nix::errno::Errno;

/// The HPET, which every machine of QEMU has.
const DEVICE: u64 = 0xfed0_0000;
/// The firmware's read-only memory.
const FIRMWARE: u64 = 0xf_0000;

/// Returns the first and the last address of each range of System RAM. The error says why the test
/// must be skipped.
fn system_ram() -> Result<Vec<(u64, u64)>, String> {
    let text =
        fs::read_to_string("/proc/iomem").map_err(|error| format!("/proc/iomem: {error}"))?;
    let ranges: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let (first, last) = line.strip_suffix(" : System RAM")?.trim().split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some((number(first)?, number(last)?))
        })
        .collect();
    if ranges.iter().all(|range| range.1 == 0) {
        return Err("/proc/iomem shows no addresses of System RAM".to_owned());
    }
    Ok(ranges)
}

/// Returns the first address beyond the physical address space of the CPU. The error says why the
/// test must be skipped.
fn end_of_addresses() -> Result<u64, String> {
    let text =
        fs::read_to_string("/proc/cpuinfo").map_err(|error| format!("/proc/cpuinfo: {error}"))?;
    text.lines()
        .find_map(|line| {
            let sizes = line.strip_prefix("address sizes")?;
            let bits = sizes
                .trim_start_matches([' ', '\t', ':'])
                .split(' ')
                .next()?;
            1_u64.checked_shl(bits.parse().ok()?)
        })
        .ok_or_else(|| "/proc/cpuinfo does not show the size of an address".to_owned())
}

#[track_caller]
fn assert_refused(fixture: &MappingFixture, source: u64, len: u64) {
    assert_refused_with(fixture, source, len, Errno::EPERM);
}

#[track_caller]
fn assert_refused_with(fixture: &MappingFixture, source: u64, len: u64, errno: Errno) {
    let segment = acrn_vm_memmap {
        len,
        ..fixture.device_memory(source)
    };
    let trace = Trace::start(&fixture.probe);
    let refused = fixture.set(segment);
    assert_eq!(refused, Err(errno), "{len:#x} bytes at {source:#x}");
    let mut device = acrn_mmiodev::default();
    // Any of the ranges counts.
    device.res[2].service_vm_pa = source;
    device.res[2].size = len;
    for request in [ACRN_IOCTL_ASSIGN_MMIODEV, ACRN_IOCTL_DEASSIGN_MMIODEV] {
        let refused = fixture.device.with(request, &mut device);
        assert_eq!(
            refused,
            Err(errno),
            "{request:#x} of {len:#x} bytes at {source:#x}"
        );
    }
    trace.assert_no_hypercalls();
    fixture.assert_nothing_left();
}

/// A page of this process, the first and the last page of each range of RAM, and ranges that
/// contain RAM are refused.
pub fn mmio_of_kernel_ram() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = GuestMemory::anonymous(PAGE);
    page.number_pages(1);
    let len = PAGE as u64;
    assert_refused(&fixture, need!(page.physical_address()), len);
    for (first, last) in need!(system_ram()) {
        let (first, end) = (first.next_multiple_of(len), (last + 1) & !(len - 1));
        assert_refused(&fixture, first, len);
        assert_refused(&fixture, end - len, len);
        assert_refused(&fixture, end - len, 1 << 30);
        if first > 0 {
            assert_refused(&fixture, first - len, 2 * len);
        }
    }
    assert_refused(&fixture, 0, need!(end_of_addresses()));
    fixture.destroy();
    Outcome::Passed
}

/// Addresses that the CPU does not have are refused. ACRN ignores the bits from 48 on when it looks
/// an address up, so some of them would be aliases of the kernel's RAM.
pub fn mmio_beyond_addresses() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let page = GuestMemory::anonymous(PAGE);
    page.number_pages(1);
    let ram = need!(page.physical_address());
    let (end, len) = (need!(end_of_addresses()), PAGE as u64);
    for source in [end, end | ram, (1 << 48) | ram, (1 << 63) | ram] {
        assert_refused_with(&fixture, source, len, Errno::EINVAL);
    }
    assert_refused_with(&fixture, end - len, 2 * len, Errno::EINVAL);
    // The hypervisor decides on the last page that the CPU can address.
    let trace = Trace::start(&fixture.probe);
    let _ = fixture.set(fixture.device_memory(end - len));
    assert_eq!(trace.ids(), [SET_MEMORY_REGIONS]);
    fixture.destroy();
    Outcome::Passed
}

/// An MMIO device is refused if any address or size is not page-aligned, even of an empty range:
/// the hypervisor would move the ranges before that one, and then fail.
pub fn mmio_unaligned() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let mut good = acrn_mmiodev {
        name: *b"UNALIGNE",
        ..Default::default()
    };
    good.res[0] = acrn_mmio_dev_res {
        user_vm_pa: 0xd000_0000,
        service_vm_pa: DEVICE,
        size: PAGE as u64,
        mem_type: 0,
    };
    let fields: [fn(&mut acrn_mmio_dev_res) -> &mut u64; 3] = [
        |range| &mut range.user_vm_pa,
        |range| &mut range.service_vm_pa,
        |range| &mut range.size,
    ];
    let trace = Trace::start(&fixture.probe);
    for index in 0..good.res.len() {
        for (number, field) in fields.iter().enumerate() {
            for bit in [1, PAGE as u64 / 2] {
                let mut device = good;
                *field(&mut device.res[index]) |= bit;
                for request in [ACRN_IOCTL_ASSIGN_MMIODEV, ACRN_IOCTL_DEASSIGN_MMIODEV] {
                    let refused = fixture.device.with(request, &mut device);
                    assert_eq!(
                        refused,
                        Err(Errno::EINVAL),
                        "{request:#x}, field {number} of range {index}"
                    );
                }
            }
        }
    }
    trace.assert_no_hypercalls();
    // Empty ranges with aligned addresses are accepted.
    good.res[1].user_vm_pa = 0xd000_1000;
    good.res[2].service_vm_pa = FIRMWARE;
    for request in [ACRN_IOCTL_ASSIGN_MMIODEV, ACRN_IOCTL_DEASSIGN_MMIODEV] {
        let accepted = fixture.device.with(request, &mut good);
        assert_eq!(accepted, Ok(()), "{request:#x}");
    }
    fixture.destroy();
    Outcome::Passed
}

/// An MMIO device is refused if a range has a reserved memory type: ACRN copies the type into the
/// EPT, and fails an assertion when the guest touches the range.
pub fn mmio_of_reserved_type() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for memory_type in 0..8 {
        let mut device = acrn_mmiodev::default();
        for (range, number) in device.res[..2].iter_mut().zip(0..) {
            *range = acrn_mmio_dev_res {
                user_vm_pa: 0xd000_0000 + number * PAGE as u64,
                service_vm_pa: DEVICE + number * PAGE as u64,
                size: PAGE as u64,
                mem_type: number * (memory_type << 3),
            };
        }
        // The type of an empty range does not matter.
        device.res[2].mem_type = 2 << 3;
        let (expected, hypercalls) = match memory_type {
            2 | 3 | 7 => (Err(Errno::EINVAL), 0),
            _ => (Ok(()), 2),
        };
        let trace = Trace::start(&fixture.probe);
        for request in [ACRN_IOCTL_ASSIGN_MMIODEV, ACRN_IOCTL_DEASSIGN_MMIODEV] {
            let result = fixture.device.with(request, &mut device);
            assert_eq!(result, expected, "{request:#x}, memory type {memory_type}");
        }
        assert_eq!(trace.ids().len(), hypercalls, "memory type {memory_type}");
    }
    fixture.destroy();
    Outcome::Passed
}

/// Physical memory that is not RAM is accepted: devices, and the firmware's memory.
pub fn mmio_of_other_memory() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for (guest, source) in [(GUEST, DEVICE), (2 * GUEST, FIRMWARE)] {
        let segment = acrn_vm_memmap {
            user_vm_pa: guest,
            ..fixture.device_memory(source)
        };
        fixture
            .set(segment)
            .expect("SET_MEMSEG of memory that is not RAM");
        let query = fixture.probe.mapping(fixture.vmid, guest);
        assert_eq!((query.mapped, query.service_vm_pa), (1, source));
    }
    fixture.destroy();
    Outcome::Passed
}

/// If the kernel is locked down, no physical memory is accepted. Existing segments can be unset,
/// and RAM can be set.
pub fn mmio_locked_down() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let segment = fixture.device_memory(DEVICE);
    fixture.set(segment).expect("SET_MEMSEG");
    let lockdown = need!(Lockdown::on());
    fixture.unset(segment).expect("UNSET_MEMSEG");
    assert_refused(&fixture, DEVICE, PAGE as u64);
    assert_refused(&fixture, FIRMWARE, PAGE as u64);
    let memory = GuestMemory::anonymous(PAGE);
    memory.number_pages(1);
    let ram = acrn_selftests::mapping_fixture::whole(&memory);
    fixture.set(ram).expect("SET_MEMSEG of RAM");
    fixture.unset(ram).expect("UNSET_MEMSEG of RAM");
    drop(lockdown);
    fixture.set(segment).expect("SET_MEMSEG");
    fixture.destroy();
    Outcome::Passed
}
