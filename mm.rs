// SPDX-License-Identifier: GPL-2.0

//! Memory of a User VM: Service VM memory and MMIO that the hypervisor maps into it.
//!
//! RAM is pinned user memory of the device model. The pins last until nothing can reach the memory: those
//! of memory that was taken away are parked until then ([`parking`]), and a mapping that could not be taken
//! away keeps them until the VM is destroyed. Memory that cannot be pinned, because it has no counted
//! pages, is watched instead ([`pfnmap_region`]).

mod mappings;
mod page_range;
mod parking;
mod pfnmap_region;
mod regions;

use crate::{
    abstractions::{
        lent_pages::{
            LentPages,
            LentRun, //
        },
        mmio_range::MmioRange,
        pfnmap,
        pinned_pages::PinnedPages,
        ratelimit::pr_err_ratelimited,
        sched::cond_resched_killable, //
    },
    hypercall::{
        AccessRights,
        Destroyed,
        MemoryRegion,
        RegionChange,
        Stopped,
        VmId, //
    },
    uapi,
};
use core::iter;
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    new_mutex,
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
};
use mappings::{
    Backing,
    Mapping,
    Mappings, //
};
use page_range::PageRange;
use parking::{
    Parking,
    Pins,
    Released, //
};
use pfnmap_region::{
    MappedBytes,
    PfnMapping, //
};
use regions::Regions;

/// What SET_MEMSEG and UNSET_MEMSEG ask for.
pub(crate) enum Segment {
    /// Memory of the calling process, from the address `user`.
    Ram {
        user: u64,
        guest: u64,
        len: u64,
        rights: AccessRights,
    },
    /// Physical memory of the Service VM, from the address `phys`.
    Mmio {
        phys: u64,
        guest: u64,
        len: u64,
        rights: AccessRights,
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
        let rights = AccessRights::from_attributes(memmap.attr);
        match memmap.type_ {
            uapi::ACRN_MEMMAP_RAM => Ok(Self::Ram {
                user: address,
                guest,
                len,
                rights,
            }),
            uapi::ACRN_MEMMAP_MMIO => Ok(Self::Mmio {
                phys: address,
                guest,
                len,
                rights,
            }),
            _ => Err(EINVAL),
        }
    }
}

/// The memory of one VM.
///
/// To drop it unpins all, if the hypervisor was proved to have destroyed the VM ([`Self::end_with`]). Else
/// what the VM may still reach is leaked.
#[pin_data(PinnedDrop)]
pub(crate) struct GuestMemory {
    vm: VmId,
    regions: Arc<Mutex<Regions>>,
    /// Held while they are changed, together with what the hypervisor maps. No page is faulted in under it.
    #[pin]
    mappings: Mutex<Mappings>,
    #[pin]
    parking: Parking,
    mapped: MappedBytes,
}

impl GuestMemory {
    /// Makes an initialiser for the memory of `vm`, of which there is none yet.
    pub(crate) fn new(vm: VmId) -> Result<impl PinInit<Self>> {
        let regions = Regions::new(vm)?;
        let mapped = Arc::new(Atomic::new(0), GFP_KERNEL_ACCOUNT)?;
        Ok(pin_init!(Self {
            vm,
            regions,
            mappings <- new_mutex!(Mappings::default()),
            parking <- Parking::new(),
            mapped,
        }))
    }

    /// Bytes of RAM that are mapped. Never waits.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.mapped.load(ordering::Relaxed)
    }

    /// Bytes of RAM that were taken away from the VM, and that it may still reach. Never waits.
    pub(crate) fn parked_bytes(&self) -> u64 {
        self.parking.bytes()
    }

    /// To be called before the hypervisor is told to start the VM: from now on vCPUs may run.
    pub(crate) fn started(&self) {
        self.parking.started();
    }

    /// To be called when the VM was paused or reset, before it can be started again.
    pub(crate) fn stopped(&self, proof: &Stopped) -> Released {
        self.parking.stopped(proof)
    }

    /// The VM has `count` passed-through PCI devices: to be called before one more is assigned, and after one
    /// was de-assigned.
    pub(crate) fn set_devices(&self, count: usize) -> Released {
        self.parking.set_devices(count)
    }

    /// Runs `destroy`, after which the hypervisor has none of the memory, and may give the VM's id to
    /// another. Nothing is unpinned before this is dropped.
    pub(crate) fn end_with(&self, destroy: impl FnOnce() -> Result<Destroyed>) -> Result {
        let proof = self.regions.lock().end_with(destroy)?;
        self.parking.end(proof);
        Ok(())
    }

    /// Unpins all, if the hypervisor was proved to have destroyed the VM; else what the VM may still reach is
    /// leaked. The VM gets no more memory: it has ended, or this is being dropped. Not to be called with a
    /// lock held.
    pub(crate) fn release(&self) {
        // First, so that no notifier is left.
        self.stop_watching();
        let pins = self.mappings.lock().take_pins();
        self.mapped.store(0, ordering::Relaxed);
        if let Err(leaked) = self.parking.empty(pins) {
            pr_err!(
                "VM {}: not proved to be gone, {} bytes stay pinned\n",
                self.vm,
                leaked
            );
        }
    }

    /// Lets go of memory that is watched.
    pub(crate) fn stop_watching(&self) {
        self.mappings.lock().stop_watching();
    }

    /// SET_MEMSEG. What was there before goes, unless it is the same. On failure nothing of the segment
    /// stays mapped; what was there before may be gone.
    ///
    /// `EINVAL` for ranges that are not whole pages, empty or wrap; `ENOSPC` for too many segments; `ENODEV`
    /// if the VM is gone; else as [`PinnedPages::pin`], [`pfnmap::look_up`] or [`MmioRange::new`].
    pub(crate) fn map(&self, segment: Segment) -> Result {
        match segment {
            Segment::Ram {
                user,
                guest,
                len,
                rights,
            } => {
                let guest = PageRange::new(guest, len)?;
                let user = PageRange::new(user, len)?;
                let start = usize::try_from(user.start()).map_err(|_| EINVAL)?;
                let pages = usize::try_from(user.len() >> PAGE_SHIFT).map_err(|_| EINVAL)?;
                if pfnmap::is_pfn_mapped(start)? {
                    return self.map_pfns(start, pages, guest, rights);
                }
                // Not under the lock: it takes long, and the mmap lock.
                let pages = match PinnedPages::pin(start, pages) {
                    Err(error) if error == ENOMEM && self.is_there(start, pages, guest, rights) => {
                        return Ok(());
                    }
                    pinned => pinned?,
                };
                self.map_pinned(pages, guest, rights)
            }
            Segment::Mmio {
                phys,
                guest,
                len,
                rights,
            } => {
                let guest = PageRange::new(guest, len)?;
                let phys = PageRange::new(phys, len)?;
                let range = MmioRange::new(phys.start(), phys.len())?;
                self.map_mmio(&range, guest, rights)
            }
        }
    }

    /// Whether the VM has the pages from the user address `start` at `guest` already. They are not charged
    /// once more to find that out.
    fn is_there(&self, start: usize, pages: usize, guest: PageRange, rights: AccessRights) -> bool {
        if self.mappings.lock().is_empty_at(guest) {
            return false;
        }
        PinnedPages::pin_uncharged(start, pages)
            .is_ok_and(|pages| self.mappings.lock().has_pages(guest, rights, &pages))
    }

    fn map_pinned(&self, pages: PinnedPages, guest: PageRange, rights: AccessRights) -> Result {
        let room = Pins::room()?;
        let mut batch = RegionChange::with_room_for(self.vm, pages.runs().len())?;
        // Dropped when the lock is free again, as what is released is.
        let mut pages = Some(pages);
        self.change(|mappings, released| {
            if pages
                .as_ref()
                .is_none_or(|pages| mappings.has_pages(guest, rights, pages))
            {
                return Ok(());
            }
            self.remove(mappings, guest, released)?;
            mappings.reserve()?;
            self.parking.must_have_room()?;
            let Some(unlent) = pages.take() else {
                return Ok(());
            };
            let pins = Pins::new(LentPages::new(unlent), room);
            let mapped = self.map_runs(guest, pins.pages.runs(), &mut batch, rights);
            if let Err((error, RollBack::Done)) = mapped {
                released.append(self.parking.park(pins));
                return Err(error);
            }
            let is_whole = mapped.is_ok();
            let backing = Backing::Pinned(pins);
            mappings.insert(Mapping::new(guest, rights, backing, is_whole))?;
            self.mapped.fetch_add(guest.len(), ordering::Relaxed);
            mapped.map_err(|(error, _)| {
                pr_err_ratelimited!(
                    "VM {}: guest memory at {:#x} stays pinned\n",
                    self.vm,
                    guest.start()
                );
                error
            })
        })
    }

    fn map_pfns(
        &self,
        start: usize,
        pages: usize,
        guest: PageRange,
        rights: AccessRights,
    ) -> Result {
        let pfns = PfnMapping::new(self.vm, &self.regions, &self.mapped, start, pages)?;
        let pfns = Arc::new(pfns, GFP_KERNEL_ACCOUNT)?;
        let mut room = RegionChange::with_room_for(self.vm, 1)?;
        loop {
            cond_resched_killable()?;
            let look = pfns.look_up(rights)?;
            let mapped = self.change(|mappings, released| {
                self.remove(mappings, guest, released)?;
                mappings.reserve()?;
                let Some(mapped) = look.map(&mut room, guest, rights) else {
                    return Ok(false);
                };
                mapped?;
                let backing = Backing::Watched(pfns.clone());
                mappings.insert(Mapping::new(guest, rights, backing, true))?;
                Ok(true)
            })?;
            if mapped {
                return Ok(());
            }
        }
    }

    fn map_mmio(&self, range: &MmioRange, guest: PageRange, rights: AccessRights) -> Result {
        let mut room = RegionChange::with_room_for(self.vm, 1)?;
        self.change(|mappings, released| {
            if mappings.has_mmio(guest, rights, range) {
                return Ok(());
            }
            self.remove(mappings, guest, released)?;
            mappings.reserve()?;
            let region = MemoryRegion::add_mmio(guest.start(), range, rights);
            self.regions.lock().add(&mut room, iter::once(region))?;
            let backing = Backing::Mmio(range.phys());
            mappings.insert(Mapping::new(guest, rights, backing, true))
        })
    }

    /// UNSET_MEMSEG: of what was set, all that is in the range goes, by whichever type. Where nothing was set
    /// the hypervisor is asked to delete MMIO, which it may have mapped by itself; RAM is `EINVAL`.
    ///
    /// `EINTR` if the task is killed; some of it may be gone then. `ENOSPC` if no more can be parked, or there
    /// are too many segments to split one. `ENODEV` if the VM is gone.
    pub(crate) fn unmap(&self, segment: Segment) -> Result {
        let (guest, is_ram) = match segment {
            Segment::Ram { guest, len, .. } => (PageRange::new(guest, len)?, true),
            Segment::Mmio { guest, len, .. } => (PageRange::new(guest, len)?, false),
        };
        self.change(|mappings, released| {
            if !mappings.is_empty_at(guest) {
                return self.remove(mappings, guest, released);
            }
            if is_ram {
                return Err(EINVAL);
            }
            self.regions.lock().delete(guest)
        })
    }

    /// Runs `action` under the lock. What it releases goes when the lock is free again. `ENODEV` for a VM
    /// that has ended.
    fn change<T>(
        &self,
        action: impl FnOnce(&mut Mappings, &mut Released) -> Result<T>,
    ) -> Result<T> {
        let mut released = Released::default();
        let mut mappings = self.mappings.lock();
        self.regions.lock().must_last()?;
        let result = action(&mut mappings, &mut released);
        drop(mappings);
        drop(released);
        result
    }

    /// Takes all that was set in `guest` away from the VM, wholly or in part.
    fn remove(&self, mappings: &mut Mappings, guest: PageRange, released: &mut Released) -> Result {
        // After these no segment is in the range in part.
        mappings.split_at(guest.start())?;
        mappings.split_at(guest.end())?;
        while let Some(mapping) = mappings.first_in(guest) {
            cond_resched_killable()?;
            let cleared = match &mapping.backing {
                Backing::Watched(pfns) => pfns.unmap(mapping.guest),
                Backing::Pinned(_) => {
                    self.parking.must_have_room()?;
                    self.regions.lock().clear(mapping.guest)
                }
                Backing::Mmio(_) => self.regions.lock().clear(mapping.guest),
            };
            if cleared.is_err() {
                mappings.distrust_first_in(guest);
                return cleared;
            }
            let Some(mapping) = mappings.remove_first_in(guest) else {
                break;
            };
            self.mapped
                .fetch_sub(mapping.pinned_bytes(), ordering::Relaxed);
            if let Backing::Pinned(pins) = mapping.backing {
                released.append(self.parking.park(pins));
            }
        }
        Ok(())
    }

    /// Maps `runs` one behind the other at `guest`.
    fn map_runs<'a>(
        &self,
        guest: PageRange,
        mut runs: impl ExactSizeIterator<Item = LentRun<'a>> + Clone,
        batch: &mut RegionChange,
        rights: AccessRights,
    ) -> Result<(), (Error, RollBack)> {
        let mut mapped = 0;
        while runs.len() > 0 {
            let chunk = runs.clone().take(batch.capacity());
            let mut next = guest.start() + mapped;
            let additions = chunk.clone().map(|run| {
                let region = MemoryRegion::add_pages(next, run, rights);
                next += run.len();
                region
            });
            let added = cond_resched_killable()
                .map_err(|error| (error, 0))
                .and_then(|()| {
                    let mut regions = self.regions.lock();
                    let added = regions.add(batch, additions);
                    added.map_err(|error| (error, chunk.len()))
                });
            if let Err((error, tried)) = added {
                return Err((error, self.roll_back(guest, mapped, chunk.take(tried))));
            }
            mapped = next - guest.start();
            runs.nth(chunk.len() - 1);
        }
        Ok(())
    }

    /// Takes away the first `mapped` bytes of `guest`, and as much of `partial` behind it as the hypervisor
    /// mapped before it failed.
    fn roll_back<'a>(
        &self,
        guest: PageRange,
        mapped: u64,
        partial: impl Iterator<Item = LentRun<'a>>,
    ) -> RollBack {
        let mut next = guest.start() + mapped;
        let parts = partial.map_while(|run| {
            let part = PageRange::new(next, run.len()).ok()?;
            next = part.end();
            Some(part)
        });
        let mut regions = self.regions.lock();
        let whole = match guest.split_at(guest.start() + mapped) {
            Some((whole, _)) => regions.clear(whole),
            None => Ok(()),
        };
        match whole.and_then(|()| regions.undo(parts)) {
            Ok(()) => RollBack::Done,
            Err(_) => RollBack::Failed,
        }
    }
}

#[pinned_drop]
impl PinnedDrop for GuestMemory {
    fn drop(self: Pin<&mut Self>) {
        self.release();
    }
}

/// Whether what was mapped before a failure could be taken away again.
enum RollBack {
    Done,
    Failed,
}
