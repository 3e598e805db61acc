// SPDX-License-Identifier: GPL-2.0

//! A VM that does not run, for tests of its memory mappings.

use std::fs;

use crate::{
    cpus,
    device::Device,
    guest::create_raw_with_flags,
    guest_memory::{GuestMemory, PAGE},
    leaks,
    probe::Probe,
    region_array::{self, RegionArray},
    trace::Trace,
};
use acrn_hypercall_abi::MemoryRegion;
use acrn_ioctls::RequestPage;
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

/// Guest address at which tests map memory.
pub const GUEST: u64 = 0x10_0000;

/// A VM that does not run, and the probe that shows the hypervisor's view of it.
pub struct MappingFixture {
    /// The hypervisor's side.
    pub probe: Probe,
    /// The driver's side.
    pub device: Device,
    /// The VM's id.
    pub vmid: u16,
    pins: i64,
    _page: RequestPage,
}

/// Returns a RAM segment: `len` bytes of `memory` from `offset`.
pub fn ram(guest: u64, memory: &GuestMemory, offset: usize, len: usize) -> acrn_vm_memmap {
    assert!(offset + len <= memory.len());
    acrn_vm_memmap {
        type_: ACRN_MEMMAP_RAM,
        attr: ACRN_MEM_TYPE_WB | ACRN_MEM_ACCESS_RWX,
        user_vm_pa: guest,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
            vma_base: memory.address() + offset as u64,
        },
        len: len as u64,
    }
}

/// Returns a RAM segment of all of `memory`, at [`GUEST`].
pub fn whole(memory: &GuestMemory) -> acrn_vm_memmap {
    ram(GUEST, memory, 0, memory.len())
}

/// Returns the same range with the type of device memory, as acrn-dm passes it to unmap RAM.
pub fn as_mmio(segment: acrn_vm_memmap) -> acrn_vm_memmap {
    acrn_vm_memmap {
        type_: ACRN_MEMMAP_MMIO,
        ..segment
    }
}

impl MappingFixture {
    /// Creates the VM. The error says why the test must be skipped.
    pub fn new() -> Result<Self, String> {
        Self::with_flags(0)
    }

    /// Creates a VM that may have a secure world (`GUEST_FLAG_SECURE_WORLD_ENABLED`). The error
    /// says why the test must be skipped.
    pub fn with_secure_world() -> Result<Self, String> {
        Self::with_flags(1)
    }

    fn with_flags(flags: u64) -> Result<Self, String> {
        let probe = Probe::open()?;
        let (device, page, vmid) = create_raw_with_flags(cpus::pick(1)?, flags);
        // This includes the pin of the request page.
        let pins = leaks::pinned_pages().ok_or("the kernel does not count pins")?;
        Ok(Self {
            probe,
            device,
            vmid,
            pins,
            _page: page,
        })
    }

    /// Returns the MSI address of vCPU 0.
    pub fn msi(&self) -> u64 {
        let vm = self.probe.vm(self.vmid).expect("the VM");
        cpus::msi(vm.cpu_affinity).expect("the machine's CPUs")
    }

    /// Makes SET_MEMSEG.
    pub fn set(&self, mut segment: acrn_vm_memmap) -> Result<(), Errno> {
        self.device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
    }

    /// Makes UNSET_MEMSEG.
    pub fn unset(&self, mut segment: acrn_vm_memmap) -> Result<(), Errno> {
        self.device.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment)
    }

    /// Returns a segment of one page of physical memory, at [`GUEST`].
    pub fn device_memory(&self, source: u64) -> acrn_vm_memmap {
        acrn_vm_memmap {
            type_: ACRN_MEMMAP_MMIO,
            attr: ACRN_MEM_TYPE_UC | ACRN_MEM_ACCESS_RWX,
            user_vm_pa: GUEST,
            __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
                service_vm_pa: source,
            },
            len: PAGE as u64,
        }
    }

    /// Calls [`Probe::fail_regions`] for this VM.
    pub fn fail_regions(&self, skip: u32, entry: u32, count: u32, result: i64) {
        let Self { probe, vmid, .. } = self;
        probe.fail_regions(*vmid, skip, entry, count, result);
    }

    /// Calls [`lose`] for this VM.
    pub fn lose(&self, guest: u64, len: u64) -> Result<(), String> {
        lose(&self.probe, self.vmid, guest, len)
    }

    /// Makes PAUSE_VM and DESTROY_VM.
    pub fn destroy(&self) {
        self.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        self.device
            .plain(ACRN_IOCTL_DESTROY_VM)
            .expect("DESTROY_VM");
    }

    /// Returns the number of bytes that the hypervisor maps into the VM.
    pub fn mapped_bytes(&self) -> u64 {
        self.probe.vm(self.vmid).expect("the VM").mapped_bytes
    }

    /// Returns the number of pages pinned since the VM was created.
    pub fn pinned(&self) -> i64 {
        leaks::pinned_pages().expect("the kernel counts pins") - self.pins
    }

    /// Panics if the hypervisor still maps memory, or the driver still pins pages.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.mapped_bytes(), 0, "bytes that are still mapped");
        assert_eq!(self.pinned(), 0, "pages that are still pinned");
    }

    /// Panics unless all pages of the destroyed VM are unpinned. One of them is the request page,
    /// which was pinned before the count began.
    #[track_caller]
    pub fn assert_all_unpinned(&self) {
        assert_eq!(
            self.pinned(),
            -1,
            "pinned pages, relative to the created VM with its request page"
        );
    }

    /// Panics unless each page from `guest` on shows the first word of its page of `memory`, which
    /// begins at `offset`, and the hypervisor maps nothing else.
    #[track_caller]
    pub fn assert_shows(&self, guest: u64, memory: &GuestMemory, offset: usize, len: usize) {
        for page in (0..len).step_by(PAGE) {
            let address = guest + page as u64;
            let seen = self.probe.read_guest(self.vmid, address, 8);
            let expected = memory.read::<u64>(offset + page).to_le_bytes();
            assert_eq!(
                seen.as_deref(),
                Some(&expected[..]),
                "first word of the page at {address:#x}"
            );
        }
        assert_eq!(self.mapped_bytes(), len as u64, "mapped bytes");
        for outside in [guest - PAGE as u64, guest + len as u64] {
            let mapped = self.probe.mapping(self.vmid, outside).mapped;
            assert_eq!(mapped, 0, "{outside:#x} is mapped");
        }
    }
}

/// Deletes a range of a VM's memory in the hypervisor without the driver's knowledge. The error
/// says why the test must be skipped.
pub fn lose(probe: &Probe, vmid: u16, guest: u64, len: u64) -> Result<(), String> {
    let deleted = RegionArray::new()?.set(probe, vmid, &[region_array::delete(guest, len)]);
    assert_eq!(deleted, 0, "SET_MEMORY_REGIONS");
    Ok(())
}

/// Returns the locked memory of this process in KiB.
pub fn locked() -> u64 {
    locked_by("self")
}

/// Returns the locked memory of a process in KiB.
pub fn locked_by(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("/proc/PID/status");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:")?.split_ascii_whitespace().next())
        .and_then(|number| number.parse().ok())
        .expect("VmLck in /proc/PID/status")
}

/// Panics unless `regions` add `len` bytes from `guest` on, without a gap.
#[track_caller]
pub fn assert_contiguous(regions: &[MemoryRegion], guest: u64, len: usize) {
    let mut next = guest;
    for region in regions {
        assert_eq!(region.type_, MemoryRegion::ADD, "operation of {region:#x?}");
        assert_eq!(region.user_vm_pa, next, "guest address in {regions:#x?}");
        assert!(
            region.size > 0 && region.size.is_multiple_of(PAGE as u64),
            "the size in {region:#x?} is not a number of pages"
        );
        next += region.size;
    }
    assert_eq!(next - guest, len as u64, "sum of sizes of {regions:#x?}");
}

/// Maps all of `memory`, and checks the hypercall's regions and the guest's view.
#[track_caller]
pub fn check_mapping(fixture: &MappingFixture, memory: &GuestMemory) -> Vec<MemoryRegion> {
    let trace = Trace::start(&fixture.probe);
    fixture.set(whole(memory)).expect("SET_MEMSEG");
    let regions = trace.regions();
    assert_contiguous(&regions, GUEST, memory.len());
    fixture.assert_shows(GUEST, memory, 0, memory.len());
    regions
}

/// Returns `pages` pages in an order in which no page is followed by its physical neighbour.
pub fn scattered(pages: usize) -> GuestMemory {
    scatter(&GuestMemory::anonymous(pages * PAGE))
}

/// Returns scattered pages in shared memory, which a fork does not copy.
pub fn scattered_shared(pages: usize) -> GuestMemory {
    scatter(&GuestMemory::shared(pages * PAGE))
}

fn scatter(source: &GuestMemory) -> GuestMemory {
    let pages = source.len() / PAGE;
    source.number_pages(0x5ca7_0000);
    let mut order: Vec<_> = (0..pages).map(|page| page * PAGE).collect();
    // Pages with even positions in the order of physical addresses come first, then the others.
    // Without permission to see physical addresses some pages may be neighbours.
    order.sort_by_key(|&page| source.physical_address_at(page).unwrap_or(page as u64));
    let (even, odd) = (order.iter().step_by(2), order.iter().skip(1).step_by(2));
    let memory = GuestMemory::anonymous(source.len());
    for (page, from) in even.chain(odd).enumerate() {
        memory.move_page(page * PAGE, source, *from);
    }
    memory
}
