// SPDX-License-Identifier: GPL-2.0

//! Memory of a User VM: Service VM memory and MMIO that the hypervisor maps into it.
//!
//! RAM is pinned user memory of the device model. The pins last until the hypervisor has let go of
//! the memory: a mapping that could not be taken away keeps them until the VM is destroyed. Memory that
//! cannot be pinned, because it has no counted pages, is watched instead ([`pfn_mapping`]).

mod pfn_mapping;
mod regions;

use crate::{
    abstractions::{
        log::pr_err_ratelimited,
        pfn_map,
        pinned_pages::{
            PinnedPages,
            Run, //
        },
    },
    hypercall::{
        MemoryRegion,
        RegionChange,
        VmId, //
    },
    uapi,
};
use kernel::{
    new_mutex,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use pfn_mapping::PfnMapping;
use regions::Regions;

/// A page-aligned, non-empty range of addresses that does not wrap.
///
/// # Invariants
///
/// `start` and `len` are multiples of the page size, `len` is not 0, `start + len` does not overflow.
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
        // INVARIANT: Checked above.
        Ok(Self { start, len })
    }

    /// Each page by itself.
    fn pages(self) -> impl Iterator<Item = Self> {
        // INVARIANT: A page of `self`.
        let page = |start| Self {
            start,
            len: PAGE_SIZE as u64,
        };
        (self.start..self.start + self.len)
            .step_by(PAGE_SIZE)
            .map(page)
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
struct RamMapping {
    guest: PageRange,
    backing: Backing,
}

enum Backing {
    Pinned { _pages: PinnedPages },
    Watched(PfnMapping),
}

/// The RAM of one VM.
///
/// Dropping it releases the pins, so it may be dropped only when the hypervisor has destroyed the VM.
#[pin_data]
pub(crate) struct GuestMemory {
    vm: VmId,
    regions: Arc<Mutex<Regions>>,
    #[pin]
    mappings: Mutex<KVVec<RamMapping>>,
}

impl GuestMemory {
    /// Makes an initialiser for the memory of `vm`, of which there is none yet.
    pub(crate) fn new(vm: VmId) -> Result<impl PinInit<Self>> {
        let regions = Regions::new(vm)?;
        Ok(pin_init!(Self {
            vm,
            regions,
            mappings <- new_mutex!(KVVec::new()),
        }))
    }

    /// Bytes of RAM that are mapped.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        let mappings = self.mappings.lock();
        let mapped = mappings.iter().filter(|mapping| match &mapping.backing {
            Backing::Pinned { .. } => true,
            Backing::Watched(pfns) => pfns.is_mapped(),
        });
        mapped.map(|mapping| mapping.guest.len).sum()
    }

    /// Runs `destroy`, after which the hypervisor has none of the memory, and may give the VM's id to
    /// another.
    pub(crate) fn end_with(&self, destroy: impl FnOnce() -> Result) -> Result {
        self.regions.lock().end_with(destroy)
    }

    /// SET_MEMSEG. On failure nothing of the segment stays mapped.
    ///
    /// `EINVAL` for ranges that are not whole pages, empty or wrap; else as [`PinnedPages::pin`] or
    /// [`pfn_map::look_up`].
    pub(crate) fn map(&self, segment: Segment) -> Result {
        let (user, guest, len, access) = match segment {
            Segment::Ram {
                user,
                guest,
                len,
                access,
            } => (user, guest, len, access),
            Segment::Mmio {
                phys,
                guest,
                len,
                access,
            } => return self.map_mmio(phys, guest, len, access),
        };
        let guest = PageRange::new(guest, len)?;
        let user = PageRange::new(user, len)?;
        let start = usize::try_from(user.start).map_err(|_| EINVAL)?;
        let pages = usize::try_from(user.len >> PAGE_SHIFT).map_err(|_| EINVAL)?;
        let write = access & uapi::ACRN_MEM_ACCESS_WRITE != 0;
        if pfn_map::look_up(start, pages, write)?.is_some() {
            return self.map_pfns(start, pages, guest, access);
        }
        // Not under the lock: it takes long, and the mmap lock.
        let pages = PinnedPages::pin(start, pages)?;
        self.map_pinned(pages, guest, access)
    }

    fn map_pinned(&self, pages: PinnedPages, guest: PageRange, access: u32) -> Result {
        let mut mappings = self.mappings.lock();
        // Reserved now, so that there is a place for the pins if the roll-back fails.
        mappings.reserve(1, GFP_KERNEL)?;
        let mapped = self.map_runs(guest.start, pages.runs(), access);
        if let Err((error, RollBack::Done)) = mapped {
            return Err(error);
        }
        let mapping = RamMapping {
            guest,
            backing: Backing::Pinned { _pages: pages },
        };
        // Room was reserved.
        let _ = mappings.push_within_capacity(mapping);
        mapped.map_err(|(error, _)| {
            pr_err_ratelimited!(
                "VM {}: guest memory at {:#x} stays pinned\n",
                self.vm,
                guest.start
            );
            error
        })
    }

    fn map_pfns(&self, start: usize, pages: usize, guest: PageRange, access: u32) -> Result {
        let pfns = PfnMapping::new(self.vm, &self.regions, start, pages, guest, access)?;
        let mapping = RamMapping {
            guest,
            backing: Backing::Watched(pfns),
        };
        let mut mappings = self.mappings.lock();
        // What was there before and is gone.
        mappings.retain(|old| {
            old.guest != guest
                || !matches!(&old.backing, Backing::Watched(pfns) if !pfns.is_mapped())
        });
        // If there is no room for it, it goes again.
        mappings.push(mapping, GFP_KERNEL)?;
        Ok(())
    }

    /// Lets go of memory that is watched.
    pub(crate) fn stop_watching(&self) {
        let is_pinned =
            |mapping: &mut RamMapping| matches!(mapping.backing, Backing::Pinned { .. });
        self.mappings.lock().retain(is_pinned);
    }

    /// Maps physical memory of the Service VM, uncached.
    fn map_mmio(&self, phys: u64, guest: u64, len: u64, access: u32) -> Result {
        let guest = PageRange::new(guest, len)?;
        let phys = PageRange::new(phys, len)?;
        let attr = uapi::ACRN_MEM_TYPE_UC | access;
        let region = MemoryRegion::add(guest.start, phys.start, len, attr);
        let addition = RegionChange::single(self.vm, region)?;
        self.regions.lock().add(&addition)
    }

    /// UNSET_MEMSEG. RAM must have been mapped at this place with this length (`EINVAL`).
    pub(crate) fn unmap(&self, segment: Segment) -> Result {
        match segment {
            Segment::Ram { guest, len, .. } => {
                let unmapped = self.unmap_ram(PageRange::new(guest, len)?)?;
                // Unpins, not under the lock.
                drop(unmapped);
                Ok(())
            }
            Segment::Mmio { guest, len, .. } => {
                let guest = PageRange::new(guest, len)?;
                self.regions.lock().delete(guest)
            }
        }
    }

    fn unmap_ram(&self, guest: PageRange) -> Result<RamMapping> {
        let mut mappings = self.mappings.lock();
        let index = mappings
            .iter()
            .rposition(|mapping| mapping.guest == guest)
            .ok_or(EINVAL)?;
        match &mappings.get(index).ok_or(EINVAL)?.backing {
            Backing::Pinned { .. } => self.regions.lock().clear(guest)?,
            Backing::Watched(pfns) => pfns.unmap()?,
        }
        mappings.remove(index).map_err(|_| EINVAL)
    }

    /// Maps `runs` one behind the other from the guest address `start`.
    fn map_runs(&self, start: u64, runs: &[Run], access: u32) -> Result<(), (Error, RollBack)> {
        let mut batch = RegionChange::with_room_for(self.vm, runs.len())
            .map_err(|error| (error, RollBack::Done))?;
        let mut regions = self.regions.lock();
        let mut mapped = 0;
        for chunk in runs.chunks(batch.capacity()) {
            let mut guest = start + mapped;
            let additions = chunk.iter().map(|run| {
                let region = MemoryRegion::add(
                    guest,
                    run.phys(),
                    run.len(),
                    uapi::ACRN_MEM_TYPE_WB | access,
                );
                guest += run.len();
                region
            });
            if let Err(error) = batch.refill(additions).and_then(|()| regions.add(&batch)) {
                return Err((error, roll_back(&mut regions, start, mapped, chunk)));
            }
            mapped = guest - start;
        }
        Ok(())
    }
}

/// Whether what was mapped before a failure could be taken away again.
enum RollBack {
    Done,
    Failed,
}

/// Takes away the first `mapped` bytes, and as much of `partial` behind it as the hypervisor mapped
/// before it stopped, which nobody knows: it may have lost some to others since.
fn roll_back(regions: &mut Regions, start: u64, mapped: u64, partial: &[Run]) -> RollBack {
    let mut guest = start;
    let mut clear = |len| {
        // INVARIANT: A part of the range that was to be mapped, made of whole runs.
        let range = PageRange { start: guest, len };
        guest += len;
        regions.clear(range)
    };
    let whole = if mapped == 0 { Ok(()) } else { clear(mapped) };
    match whole.and_then(|()| partial.iter().try_for_each(|run| clear(run.len()))) {
        Ok(()) => RollBack::Done,
        Err(_) => RollBack::Failed,
    }
}
