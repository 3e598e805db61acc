// SPDX-License-Identifier: GPL-2.0

//! A VM that does not run, to map memory into.

use std::fs;

use crate::{
    cpus,
    device::Device,
    guest::create_raw,
    guest_memory::{GuestMemory, PAGE},
    hypercall::SET_MEMORY_REGIONS,
    leaks,
    probe::Probe,
    trace::{Region, Trace},
};
use acrn_ioctls::RequestPage;
use acrn_uapi::{ioctl::*, *};
use nix::errno::Errno;

/// Read, write and execute.
pub const ALL_RIGHTS: u32 = ACRN_MEM_ACCESS_READ | ACRN_MEM_ACCESS_WRITE | ACRN_MEM_ACCESS_EXEC;
/// Where tests map memory in the guest.
pub const GUEST: u64 = 0x10_0000;

/// The VM, and who can tell what the hypervisor thinks of it.
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

/// A RAM segment: `len` bytes of `area` from `offset`.
pub fn ram(guest: u64, memory: &GuestMemory, offset: usize, len: usize) -> acrn_vm_memmap {
    assert!(offset + len <= memory.len());
    acrn_vm_memmap {
        type_: ACRN_MEMMAP_RAM,
        attr: ACRN_MEM_TYPE_WB | ALL_RIGHTS,
        user_vm_pa: guest,
        __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
            vma_base: memory.address() + offset as u64,
        },
        len: len as u64,
    }
}

/// A RAM segment of all of `area`, at [`GUEST`].
pub fn whole(memory: &GuestMemory) -> acrn_vm_memmap {
    ram(GUEST, memory, 0, memory.len())
}

/// The same range as if it were the memory of a device: acrn-dm has no other way to take RAM away.
pub fn as_mmio(segment: acrn_vm_memmap) -> acrn_vm_memmap {
    acrn_vm_memmap {
        type_: ACRN_MEMMAP_MMIO,
        ..segment
    }
}

impl MappingFixture {
    /// Creates the VM; the error says why the test has to be skipped.
    pub fn new() -> Result<Self, String> {
        let probe = Probe::open()?;
        let (device, page, vmid) = create_raw(cpus::pick(1)?);
        // With the pin of the request page.
        let pins = leaks::pinned_pages().ok_or("the kernel does not count pins")?;
        Ok(Self {
            probe,
            device,
            vmid,
            pins,
            _page: page,
        })
    }

    /// The MSI address that means vCPU 0.
    pub fn msi(&self) -> u64 {
        let vm = self.probe.vm(self.vmid).expect("the VM");
        cpus::msi(vm.cpu_affinity).expect("the machine's CPUs")
    }

    /// SET_MEMSEG.
    pub fn set(&self, mut segment: acrn_vm_memmap) -> Result<(), Errno> {
        self.device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment)
    }

    /// UNSET_MEMSEG.
    pub fn unset(&self, mut segment: acrn_vm_memmap) -> Result<(), Errno> {
        self.device.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment)
    }

    /// A segment of a page of physical memory, at [`GUEST`].
    pub fn device_memory(&self, source: u64) -> acrn_vm_memmap {
        acrn_vm_memmap {
            type_: ACRN_MEMMAP_MMIO,
            attr: ACRN_MEM_TYPE_UC | ALL_RIGHTS,
            user_vm_pa: GUEST,
            __bindgen_anon_1: acrn_vm_memmap__bindgen_ty_1 {
                service_vm_pa: source,
            },
            len: PAGE as u64,
        }
    }

    /// As [`Probe::fail_regions`], of this VM.
    pub fn fail_regions(&self, skip: u32, entry: u32, count: u32, result: i64) {
        let Self { probe, vmid, .. } = self;
        probe.fail_regions(*vmid, skip, entry, count, result);
    }

    /// As [`lose`], of this VM.
    pub fn lose(&self, guest: u64, len: u64) -> Result<(), String> {
        lose(&self.probe, self.vmid, guest, len)
    }

    /// PAUSE_VM and DESTROY_VM.
    pub fn destroy(&self) {
        self.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        self.device
            .plain(ACRN_IOCTL_DESTROY_VM)
            .expect("DESTROY_VM");
    }

    /// Bytes that the hypervisor maps into the VM.
    pub fn mapped_bytes(&self) -> u64 {
        self.probe.vm(self.vmid).expect("the VM").mapped_bytes
    }

    /// Pages pinned since the VM was created.
    pub fn pinned(&self) -> i64 {
        leaks::pinned_pages().expect("counted before") - self.pins
    }

    /// Panics if the hypervisor maps anything, or the driver has pinned anything.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.mapped_bytes(), 0, "bytes are still mapped");
        assert_eq!(self.pinned(), 0, "pages are still pinned");
    }

    /// Panics unless each page at `guest` shows the first word of the page of `area` at `offset`, and the
    /// hypervisor maps nothing else.
    pub fn assert_shows(&self, guest: u64, memory: &GuestMemory, offset: usize, len: usize) {
        for page in (0..len).step_by(PAGE) {
            let address = guest + page as u64;
            let seen = self.probe.read_guest(self.vmid, address, 8);
            let expected = memory.read::<u64>(offset + page).to_le_bytes();
            assert_eq!(seen.as_deref(), Some(&expected[..]), "at {address:#x}");
        }
        assert_eq!(self.mapped_bytes(), len as u64, "mapped");
        for outside in [guest - PAGE as u64, guest + len as u64] {
            let mapped = self.probe.mapping(self.vmid, outside).mapped;
            assert_eq!(mapped, 0, "{outside:#x} is mapped");
        }
    }
}

/// Has the hypervisor delete a range of a VM's memory, which the driver does not know of. The error says why the test
/// has to be skipped.
pub fn lose(probe: &Probe, vmid: u16, guest: u64, len: u64) -> Result<(), String> {
    // An array of one region: type and attributes, address, source, size.
    let array = GuestMemory::anonymous(PAGE);
    for (index, word) in [Region::DELETE.into(), guest, 0, len].iter().enumerate() {
        array.write::<u64>(8 * index, *word);
    }
    let address = array.physical_address()?;
    let header = [u64::from(vmid), 1, address].map(u64::to_le_bytes);
    let deleted = probe.call_with_parameter(SET_MEMORY_REGIONS, None, header.as_flattened());
    assert_eq!(deleted, 0, "SET_MEMORY_REGIONS");
    Ok(())
}

/// Locked memory of this process in KiB.
pub fn locked() -> u64 {
    locked_by("self")
}

/// Locked memory of a process in KiB.
pub fn locked_by(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("/proc/PID/status");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:")?.split_ascii_whitespace().next())
        .and_then(|number| number.parse().ok())
        .expect("VmLck in /proc/PID/status")
}

/// Panics unless `regions` add `len` bytes at `guest`, one behind the other.
pub fn assert_contiguous(regions: &[Region], guest: u64, len: usize) {
    let mut next = guest;
    for region in regions {
        assert_eq!(region.operation, Region::ADD);
        assert_eq!(region.user_vm_pa, next, "in {regions:#x?}");
        assert!(region.size > 0 && region.size.is_multiple_of(PAGE as u64));
        next += region.size;
    }
    assert_eq!(next - guest, len as u64, "sum of sizes of {regions:#x?}");
}

/// Maps all of `area`, and checks what the hypervisor was told and what the guest sees.
pub fn check_mapping(fixture: &MappingFixture, memory: &GuestMemory) -> Vec<Region> {
    let trace = Trace::start(&fixture.probe);
    fixture.set(whole(memory)).expect("SET_MEMSEG");
    let regions = trace.regions();
    assert_contiguous(&regions, GUEST, memory.len());
    fixture.assert_shows(GUEST, memory, 0, memory.len());
    regions
}

/// `pages` pages in such an order that none is followed by its neighbour in physical memory.
pub fn scattered(pages: usize) -> GuestMemory {
    scatter(&GuestMemory::anonymous(pages * PAGE))
}

/// The same in shared memory, which a fork does not make copies of.
pub fn scattered_shared(pages: usize) -> GuestMemory {
    scatter(&GuestMemory::shared(pages * PAGE))
}

fn scatter(source: &GuestMemory) -> GuestMemory {
    let pages = source.len() / PAGE;
    source.number_pages(0x5ca7_0000);
    let mut order: Vec<_> = (0..pages).map(|page| page * PAGE).collect();
    // Every other one by physical address, then the others. Without the right to see addresses some may be neighbours.
    order.sort_by_key(|&page| source.physical_address_at(page).unwrap_or(page as u64));
    let (even, odd) = (order.iter().step_by(2), order.iter().skip(1).step_by(2));
    let memory = GuestMemory::anonymous(source.len());
    for (page, from) in even.chain(odd).enumerate() {
        memory.move_page(page * PAGE, source, *from);
    }
    memory
}
