// SPDX-License-Identifier: GPL-2.0

//! Memory of a User VM: Service VM memory and MMIO that the hypervisor maps into it.
//!
//! RAM is pinned user memory of the device model. The pins last until the hypervisor has let go of
//! the memory: a mapping that could not be taken away keeps them until the VM is destroyed.

use crate::{
    abstractions::{
        contiguous::ContiguousVec,
        log::pr_err_ratelimited,
        pinned_pages::{
            PinnedPages,
            Run, //
        },
    },
    hypercall::{
        self,
        MemoryRegion,
        VmId, //
    },
    uapi,
};
use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
};

/// A page-aligned, non-empty range of addresses that does not wrap.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PageRange {
    start: u64,
    len: u64,
}

impl PageRange {
    fn new(start: u64, len: u64) -> Result<Self> {
        let aligned = (start | len) % PAGE_SIZE as u64 == 0;
        if !aligned || len == 0 || start.checked_add(len).is_none() {
            return Err(EINVAL);
        }
        Ok(Self { start, len })
    }
}

/// What SET_MEMSEG and UNSET_MEMSEG ask for.
pub(crate) enum Segment {
    /// Memory of the calling process, from the address `user`.
    Ram {
        user: u64,
        guest: u64,
        len: u64,
        access: u32,
    },
    /// Physical memory of the Service VM, from the address `phys`.
    Mmio {
        phys: u64,
        guest: u64,
        len: u64,
        access: u32,
    },
}

impl TryFrom<uapi::acrn_vm_memmap> for Segment {
    type Error = Error;

    /// Checks the type only. As upstream does, bits of `attr` that are no access right are ignored:
    /// the type of the memory decides about caching.
    fn try_from(memmap: uapi::acrn_vm_memmap) -> Result<Self> {
        // Both members of the union are 64-bit addresses.
        let address = memmap.service_address();
        let (guest, len) = (memmap.user_vm_pa, memmap.len);
        let access = memmap.attr & uapi::ACRN_MEM_ACCESS_RIGHT_MASK;
        match memmap.type_ {
            uapi::ACRN_MEMMAP_RAM => Ok(Self::Ram {
                user: address,
                guest,
                len,
                access,
            }),
            uapi::ACRN_MEMMAP_MMIO => Ok(Self::Mmio {
                phys: address,
                guest,
                len,
                access,
            }),
            _ => Err(EINVAL),
        }
    }
}

/// RAM that the hypervisor maps, or may still map, into a VM.
pub(crate) struct RamMapping {
    guest: PageRange,
    _pages: PinnedPages,
}

/// The RAM of one VM.
///
/// Dropping it releases the pins, so it may be dropped only when the hypervisor has destroyed the VM.
#[derive(Default)]
pub(crate) struct GuestMemory {
    mappings: KVec<RamMapping>,
}

/// Pins the user memory of a RAM segment. Sleeps, takes the mmap lock.
pub(crate) struct PinnedSegment {
    guest: PageRange,
    pages: PinnedPages,
    access: u32,
}

impl PinnedSegment {
    /// `EINVAL` for ranges that are not whole pages, empty or wrap; else as [`PinnedPages::pin`].
    pub(crate) fn new(user: u64, guest: u64, len: u64, access: u32) -> Result<Self> {
        let guest = PageRange::new(guest, len)?;
        let user = PageRange::new(user, len)?;
        let start = usize::try_from(user.start).map_err(|_| EINVAL)?;
        let pages = usize::try_from(user.len >> PAGE_SHIFT).map_err(|_| EINVAL)?;
        Ok(Self {
            guest,
            pages: PinnedPages::pin(start, pages)?,
            access,
        })
    }
}

impl GuestMemory {
    /// Bytes of RAM that are mapped.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.mappings.iter().map(|mapping| mapping.guest.len).sum()
    }

    /// Maps pinned memory into `vm`. On failure nothing of it stays mapped.
    pub(crate) fn map_ram(&mut self, vm: VmId, segment: PinnedSegment) -> Result {
        let PinnedSegment {
            guest,
            pages,
            access,
        } = segment;
        // Reserved now, so that there is a place for the pins if the roll-back fails.
        self.mappings.reserve(1, GFP_KERNEL)?;
        let mapped = map_runs(vm, guest.start, pages.runs(), access);
        if let Err((error, RollBack::Done)) = mapped {
            return Err(error);
        }
        let mapping = RamMapping {
            guest,
            _pages: pages,
        };
        // Room was reserved.
        let _ = self.mappings.push_within_capacity(mapping);
        mapped.map_err(|(error, _)| {
            pr_err_ratelimited!(
                "VM {}: guest memory at {:#x} stays pinned\n",
                vm,
                guest.start
            );
            error
        })
    }

    /// Takes RAM away from `vm`, which must have been mapped at this place with this length
    /// (`EINVAL`), and returns it, pins and all.
    pub(crate) fn unmap_ram(&mut self, vm: VmId, guest: u64, len: u64) -> Result<RamMapping> {
        let guest = PageRange::new(guest, len)?;
        let index = self
            .mappings
            .iter()
            .rposition(|mapping| mapping.guest == guest)
            .ok_or(EINVAL)?;
        unmap(vm, guest)?;
        self.mappings.remove(index).map_err(|_| EINVAL)
    }
}

/// Whether what was mapped before a failure could be taken away again.
enum RollBack {
    Done,
    Failed,
}

/// Maps `runs` one behind the other from the guest address `start`.
fn map_runs(vm: VmId, start: u64, runs: &[Run], access: u32) -> Result<(), (Error, RollBack)> {
    let mut batch =
        ContiguousVec::with_capacity_up_to(runs.len()).map_err(|error| (error, RollBack::Done))?;
    let mut mapped = 0;
    for chunk in runs.chunks(batch.capacity()) {
        let mut guest = start + mapped;
        batch.refill(chunk.iter().map(|run| {
            let region = MemoryRegion::add(
                guest,
                run.phys(),
                run.len(),
                uapi::ACRN_MEM_TYPE_WB | access,
            );
            guest += run.len();
            region
        }));
        if let Err(error) = hypercall::set_memory_regions(vm, &batch) {
            return Err((error, roll_back(vm, start, mapped, chunk)));
        }
        mapped = guest - start;
    }
    Ok(())
}

/// Takes away the first `mapped` bytes, and as much of `partial` behind it as the hypervisor mapped
/// before it stopped.
fn roll_back(vm: VmId, start: u64, mapped: u64, partial: &[Run]) -> RollBack {
    let mut guest = start + mapped;
    for run in partial {
        let range = PageRange {
            start: guest,
            len: run.len(),
        };
        match unmap(vm, range) {
            Ok(()) => guest += run.len(),
            // The hypervisor's word for an address that is not mapped: it got this far.
            Err(error) if error == EINVAL => break,
            Err(_) => return RollBack::Failed,
        }
    }
    if mapped == 0 {
        return RollBack::Done;
    }
    match unmap(vm, PageRange { start, len: mapped }) {
        Ok(()) => RollBack::Done,
        Err(_) => RollBack::Failed,
    }
}

fn unmap(vm: VmId, guest: PageRange) -> Result {
    single(vm, MemoryRegion::delete(guest.start, guest.len))
}

fn single(vm: VmId, region: MemoryRegion) -> Result {
    let mut batch = ContiguousVec::with_capacity_up_to(1)?;
    batch.refill(core::iter::once(region));
    hypercall::set_memory_regions(vm, &batch)
}

/// Maps physical memory of the Service VM, uncached.
pub(crate) fn map_mmio(vm: VmId, phys: u64, guest: u64, len: u64, access: u32) -> Result {
    let guest = PageRange::new(guest, len)?;
    let phys = PageRange::new(phys, len)?;
    let attr = uapi::ACRN_MEM_TYPE_UC | access;
    single(vm, MemoryRegion::add(guest.start, phys.start, len, attr))
}

/// Takes away what is mapped at `guest`.
pub(crate) fn unmap_mmio(vm: VmId, guest: u64, len: u64) -> Result {
    unmap(vm, PageRange::new(guest, len)?)
}
