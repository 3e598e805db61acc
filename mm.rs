// SPDX-License-Identifier: GPL-2.0

//! The memory of a User VM: memory and MMIO of the Service VM that the hypervisor maps into it.
//!
//! RAM is pinned user memory of the device model. It stays pinned until nothing can access it any
//! more. Pins of unmapped memory are parked until then ([`parking`]). A mapping that the hypervisor
//! refuses to unmap keeps its pins until a later command unmaps it or the VM is destroyed. Memory
//! that cannot be pinned, because it has no counted pages, has an MMU interval notifier instead
//! ([`pfnmap_region`]).

mod mappings;
mod page_range;
mod parking;
mod pfnmap_region;
mod regions;
mod segment;

pub(crate) use segment::{
    Segment,
    UnsetSegment, //
};

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
        Created,
        Destroyed,
        GuestPhys,
        MemoryRegion,
        RegionBatch,
        ResetDone,
        ServicePhys,
        Stopped,
        VmId, //
    },
};
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
use page_range::{
    GuestRange,
    PageRange,
    UserAddr, //
};
use parking::{
    Parking,
    Pins,
    Released, //
};
use pfnmap_region::{
    MappedBytes,
    PfnmapRegion, //
};
use regions::{
    Regions,
    RollBack, //
};
use segment::Source;

/// The memory of a VM.
///
/// Dropping this unpins all memory if the hypervisor was proved to have destroyed the VM
/// ([`Self::destroy_with`]). Otherwise it leaks the memory that the VM may still access.
#[pin_data(PinnedDrop)]
pub(crate) struct GuestMemory {
    vm: VmId,
    has_secure_world: bool,
    regions: Arc<Mutex<Regions>>,
    /// Held while mappings change, both here and in the hypervisor. No page is faulted in with the
    /// lock held.
    #[pin]
    mappings: Mutex<Mappings>,
    #[pin]
    parking: Parking,
    mapped: MappedBytes,
}

impl GuestMemory {
    /// Returns an initialiser for the memory of the VM `created`, which has none yet.
    pub(crate) fn new(created: &Created) -> Result<impl PinInit<Self>> {
        let vm = created.vm();
        let has_secure_world = created.has_secure_world();
        let regions = Regions::new(vm)?;
        let mapped = Arc::new(Atomic::new(0), GFP_KERNEL_ACCOUNT)?;
        Ok(pin_init!(Self {
            vm,
            regions,
            mappings <- new_mutex!(Mappings::default()),
            has_secure_world,
            parking <- Parking::new(*vm, *has_secure_world),
            mapped,
        }))
    }

    /// Returns the number of bytes of RAM that are mapped. Does not wait.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.mapped.load(ordering::Relaxed)
    }

    /// Returns the number of bytes of RAM that were unmapped from the VM and are still pinned. Does
    /// not wait.
    pub(crate) fn parked_bytes(&self) -> u64 {
        self.parking.bytes()
    }

    /// Records that vCPUs may run. To be called before the hypercall that starts the VM.
    pub(crate) fn started(&self) {
        self.parking.started();
    }

    /// Runs `pause`. If it stops the vCPUs, releases the pins that were parked before.
    pub(crate) fn pause_with(
        &self,
        pause: impl FnOnce() -> Result<Option<Stopped>>,
    ) -> Result<Released> {
        // Held, so that no memory is unmapped between the two.
        let _regions = self.regions.lock();
        Ok(match pause()? {
            Some(proof) => self.parking.stopped(&proof),
            None => Released::default(),
        })
    }

    /// Records that the VM was reset. To be called before it can be started again.
    pub(crate) fn reset(&self, proof: &ResetDone) -> Released {
        self.parking.reset(proof)
    }

    /// Records that the VM has `count` passed-through PCI devices. To be called before another one
    /// is assigned, and after one was deassigned.
    pub(crate) fn set_devices(&self, count: usize) -> Released {
        self.parking.set_devices(count)
    }

    /// Runs `destroy`, after which the hypervisor uses none of the memory and may give the VM's id
    /// to another VM. The memory stays pinned until [`Self::release`].
    pub(crate) fn destroy_with(&self, destroy: impl FnOnce() -> Result<Destroyed>) -> Result {
        let proof = self.regions.lock().destroy_with(destroy)?;
        self.parking.destroyed(proof);
        Ok(())
    }

    /// Returns whether the hypervisor may have destroyed the VM.
    pub(crate) fn may_be_gone(&self) -> bool {
        self.regions.lock().check_may_add().is_err()
    }

    /// Unpins all memory if the hypervisor was proved to have destroyed the VM; leaks the memory
    /// that the VM may still access otherwise.
    ///
    /// The VM gets no memory afterwards: it has ended, or this is being dropped. Must not be called
    /// with a mutex of a VM held.
    pub(crate) fn release(&self) {
        // First, so that no notifier remains.
        self.remove_notifiers();
        let pins = self.mappings.lock().take_pins();
        self.mapped.store(0, ordering::Relaxed);
        if let Err(leaked) = self.parking.empty(pins) {
            pr_err!(
                "VM {}: not destroyed, {} bytes stay pinned\n",
                self.vm,
                leaked
            );
        }
    }

    /// Removes all MMU interval notifiers, and unmaps their memory if the hypervisor allows.
    pub(crate) fn remove_notifiers(&self) {
        self.mappings.lock().remove_notifiers();
    }

    /// Maps a segment (SET_MEMSEG). It replaces the segments that it overlaps, unless it is the
    /// same.
    ///
    /// If this fails, nothing of the segment stays mapped, unless the hypervisor refuses to unmap
    /// it, but the segments that it overlaps may be unmapped.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` if the VM has too many segments.
    /// - `ENODEV` if the VM was destroyed.
    /// - `EOPNOTSUPP` if the memory cannot be pinned, and the VM may have a secure world.
    /// - As [`PinnedPages::pin`], [`pfnmap::follow_pfnmap`] and [`MmioRange::new`].
    pub(crate) fn map(&self, segment: Segment) -> Result {
        let Segment {
            guest,
            source,
            rights,
        } = segment;
        match source {
            Source::Ram(user) => self.map_ram(user, guest, rights),
            Source::Mmio(phys) => self.map_mmio(phys, guest, rights),
        }
    }

    fn map_ram(
        &self,
        user: PageRange<UserAddr>,
        guest: GuestRange,
        rights: AccessRights,
    ) -> Result {
        let start = usize::try_from(u64::from(user.start())).map_err(|_| EINVAL)?;
        let pages = usize::try_from(user.len() >> PAGE_SHIFT).map_err(|_| EINVAL)?;
        if pfnmap::is_pfnmap(start)? {
            // Its notifier would not find the memory in the secure world.
            if self.has_secure_world {
                return Err(EOPNOTSUPP);
            }
            return self.map_pfns(start, pages, guest, rights);
        }
        // Not under the lock: it takes long, and takes the mmap lock.
        let pages = match PinnedPages::pin(start, pages) {
            Err(error) if error == ENOMEM && self.is_mapped(start, pages, guest, rights) => {
                return Ok(());
            }
            pinned => pinned?,
        };
        self.map_pinned(pages, guest, rights)
    }

    /// Returns whether the pages from the user address `start` on are mapped at `guest`. Does not
    /// charge them to find out.
    fn is_mapped(
        &self,
        start: usize,
        pages: usize,
        guest: GuestRange,
        rights: AccessRights,
    ) -> bool {
        // So no more is pinned uncharged than the VM has.
        if !self.mappings.lock().is_pinned(guest, rights) {
            return false;
        }
        PinnedPages::pin_uncharged(start, pages)
            .is_ok_and(|pages| self.mappings.lock().has_pages(guest, rights, &pages))
    }

    fn map_pinned(&self, pages: PinnedPages, guest: GuestRange, rights: AccessRights) -> Result {
        let memory = Pins::allocate()?;
        let mut batch = RegionBatch::with_room_for(self.vm, pages.runs().len())?;
        // Dropped after the lock is released, as released pins are.
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
            self.parking.check_room()?;
            let Some(unlent) = pages.take() else {
                return Ok(());
            };
            let pins = Pins::new(LentPages::new(unlent), memory);
            let mapped = self.map_runs(guest, pins.pages.runs(), &mut batch, rights);
            if let Err((error, RollBack::NotNeeded)) = mapped {
                // SAFETY: `map_runs` returns this only if the hypervisor has mapped no run of the
                // pins, which were lent to it just before.
                released.append(unsafe { Released::never_mapped(pins) });
                return Err(error);
            }
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
                    "VM {}: guest memory at {} is partly mapped and stays pinned: {:?}\n",
                    self.vm,
                    guest.start(),
                    error
                );
                error
            })
        })
    }

    fn map_pfns(
        &self,
        start: usize,
        pages: usize,
        guest: GuestRange,
        rights: AccessRights,
    ) -> Result {
        let region = PfnmapRegion::new(self.vm, &self.regions, &self.mapped, start, pages)?;
        let region = Arc::new(region, GFP_KERNEL_ACCOUNT)?;
        let mut batch = RegionBatch::with_room_for(self.vm, 1)?;
        loop {
            cond_resched_killable()?;
            let followed = region.follow(rights)?;
            let is_mapped = self.change(|mappings, released| {
                self.remove(mappings, guest, released)?;
                mappings.reserve()?;
                let Some(mapped) = followed.map(&mut batch, guest, rights) else {
                    return Ok(false);
                };
                let backing = Backing::Pfnmap(region.clone());
                self.insert(mappings, guest, rights, backing, mapped)?;
                Ok(true)
            })?;
            if is_mapped {
                return Ok(());
            }
        }
    }

    fn map_mmio(
        &self,
        phys: PageRange<ServicePhys>,
        guest: GuestRange,
        rights: AccessRights,
    ) -> Result {
        let range = MmioRange::new(phys.start().into(), phys.len())?;
        let mut batch = RegionBatch::with_room_for(self.vm, 1)?;
        self.change(|mappings, released| {
            if mappings.has_mmio(guest, rights, &range) {
                return Ok(());
            }
            self.remove(mappings, guest, released)?;
            mappings.reserve()?;
            let region = MemoryRegion::add_mmio(guest.start(), &range, rights);
            let mut regions = self.regions.lock();
            let mapped = regions.add_or_undo(&mut batch, guest, region);
            drop(regions);
            let backing = Backing::Mmio(phys.start());
            self.insert(mappings, guest, rights, backing, mapped)
        })
    }

    /// Adds a mapping of memory that is not pinned, `mapped` as [`Regions::add_or_undo`] returned.
    /// Memory that could not be unmapped is added as well, so that it can be unmapped later.
    fn insert(
        &self,
        mappings: &mut Mappings,
        guest: GuestRange,
        rights: AccessRights,
        backing: Backing,
        mapped: Result<(), (Error, RollBack)>,
    ) -> Result {
        if let Err((error, RollBack::NotNeeded | RollBack::Done)) = mapped {
            return Err(error);
        }
        mappings.insert(Mapping::new(guest, rights, backing, mapped.is_ok()))?;
        mapped.map_err(|(error, _)| {
            pr_err_ratelimited!(
                "VM {}: memory at {} is partly mapped: {:?}\n",
                self.vm,
                guest.start(),
                error
            );
            error
        })
    }

    /// Unmaps all segments in a range, of either type (UNSET_MEMSEG).
    ///
    /// Where no segment is mapped, asks the hypervisor to unmap MMIO, which it may have mapped
    /// itself.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if no segment is mapped in a range of RAM.
    /// - `EINTR` if the task was killed; a part may be unmapped then.
    /// - `ENOSPC` if no more pins can be parked, or a segment cannot be split because the VM has
    ///   too many.
    /// - `ENODEV` if the VM was destroyed.
    pub(crate) fn unmap(&self, segment: UnsetSegment) -> Result {
        let (guest, is_ram) = match segment {
            UnsetSegment::Ram(guest) => (guest, true),
            UnsetSegment::Mmio(guest) => (guest, false),
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

    /// Runs `action` under the lock. Drops the pins that it releases after the lock is released.
    ///
    /// Fails with `ENODEV` if the VM was destroyed.
    fn change<T>(
        &self,
        action: impl FnOnce(&mut Mappings, &mut Released) -> Result<T>,
    ) -> Result<T> {
        let mut released = Released::default();
        let mut mappings = self.mappings.lock();
        self.regions.lock().check_id()?;
        let result = action(&mut mappings, &mut released);
        drop(mappings);
        drop(released);
        result
    }

    /// Unmaps all segments and parts of segments in `guest`.
    fn remove(
        &self,
        mappings: &mut Mappings,
        guest: GuestRange,
        released: &mut Released,
    ) -> Result {
        // Afterwards no mapping is partly inside the range.
        mappings.split_at(guest.start())?;
        mappings.split_at(guest.end())?;
        while let Some(mapping) = mappings.first_in(guest) {
            cond_resched_killable()?;
            let cleared = match &mapping.backing {
                Backing::Pfnmap(region) => region.unmap(mapping.guest),
                Backing::Pinned(_) => {
                    self.parking.check_room()?;
                    self.regions.lock().clear(mapping.guest)
                }
                Backing::Mmio(_) => self.regions.lock().clear(mapping.guest),
            };
            if cleared.is_err() {
                mappings.mark_first_partial(guest);
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

    /// Maps `runs` one after the other at `guest`.
    fn map_runs<'a>(
        &self,
        guest: GuestRange,
        mut runs: impl ExactSizeIterator<Item = LentRun<'a>> + Clone,
        batch: &mut RegionBatch,
        rights: AccessRights,
    ) -> Result<(), (Error, RollBack)> {
        let mut mapped = 0;
        while runs.len() > 0 {
            let chunk = runs.clone().take(batch.capacity());
            let mut next = u64::from(guest.start()) + mapped;
            let additions = chunk.clone().map(|run| {
                let region = MemoryRegion::add_pages(GuestPhys::from(next), run, rights);
                next += run.len();
                region
            });
            let added = cond_resched_killable()
                .map_err(|error| (error, 0))
                .and_then(|()| {
                    let mut regions = self.regions.lock();
                    regions.check_may_add().map_err(|error| (error, 0))?;
                    let added = regions.add(batch, additions);
                    added.map_err(|error| match error {
                        // ACRN returns this only before it processes the first region
                        // (`hcall_set_vm_memory_regions()`).
                        EPERM => (error, 0),
                        _ => (error, chunk.len()),
                    })
                });
            if let Err((error, tried)) = added {
                if mapped == 0 && tried == 0 {
                    return Err((error, RollBack::NotNeeded));
                }
                return Err((error, self.roll_back(guest, mapped, chunk.take(tried))));
            }
            mapped = next - u64::from(guest.start());
            runs.nth(chunk.len() - 1);
        }
        Ok(())
    }

    /// Unmaps the first `mapped` bytes of `guest`, and the runs of `partial` after them that the
    /// hypervisor mapped before it failed.
    fn roll_back<'a>(
        &self,
        guest: GuestRange,
        mapped: u64,
        partial: impl Iterator<Item = LentRun<'a>>,
    ) -> RollBack {
        let end = GuestPhys::from(u64::from(guest.start()) + mapped);
        let mut next = end;
        let parts = partial.map_while(|run| {
            let part = GuestRange::new(next, run.len()).ok()?;
            next = part.end();
            Some(part)
        });
        let mut regions = self.regions.lock();
        let whole = match guest.split_at(end) {
            Some((whole, _)) => regions.clear(whole),
            None => Ok(()),
        };
        whole.and_then(|()| regions.undo(parts)).into()
    }
}

#[pinned_drop]
impl PinnedDrop for GuestMemory {
    fn drop(self: Pin<&mut Self>) {
        self.release();
    }
}
