// SPDX-License-Identifier: GPL-2.0

//! The segments that SET_MEMSEG has mapped into a VM. A segment replaces those that it overlaps.

use super::{
    page_range::GuestRange,
    parking::{
        PinList,
        Pins, //
    },
    pfnmap_region::PfnmapRegion, //
};
use crate::{
    abstractions::{
        mmio_range::MmioRange,
        object_count::{
            self,
            Counted, //
        },
        pinned_pages::PinnedPages,
        sched::cond_resched, //
    },
    hypercall::{
        AccessRights,
        GuestPhys,
        ServicePhys, //
    },
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc, //
};

/// The memory behind a mapping.
pub(super) enum Backing {
    /// Pinned memory.
    Pinned(KBox<Pins>),
    /// Memory with a notifier, which the hypervisor maps until the notifier unmaps it. The parts of
    /// a segment share it.
    Pfnmap(Arc<PfnmapRegion>),
    /// Memory of a device, from a physical address on.
    Mmio(ServicePhys),
}

/// A segment, or a part of one.
pub(super) struct Mapping {
    pub(super) guest: GuestRange,
    pub(super) rights: AccessRights,
    pub(super) backing: Backing,
    /// The hypervisor maps all of it. False if mapping or unmapping it failed in the middle.
    is_whole: bool,
    _count: Counted,
}

impl Mapping {
    /// Creates a mapping. If `is_whole` is false, the hypervisor may map parts of it only.
    pub(super) fn new(
        guest: GuestRange,
        rights: AccessRights,
        backing: Backing,
        is_whole: bool,
    ) -> Self {
        Self {
            guest,
            rights,
            backing,
            is_whole,
            _count: Counted::new(&object_count::MAPPINGS),
        }
    }

    /// Returns the number of pinned bytes. Other RAM does not count, because a notifier may unmap
    /// it at any time.
    pub(super) fn pinned_bytes(&self) -> u64 {
        match self.backing {
            Backing::Pinned(_) => self.guest.len(),
            Backing::Pfnmap(_) | Backing::Mmio(_) => 0,
        }
    }

    /// Splits off the part from `address` on. Returns `None` if `address` is not inside.
    fn split_off(&mut self, address: GuestPhys) -> Result<Option<Self>> {
        let Some((before, after)) = self.guest.split_at(address) else {
            return Ok(None);
        };
        let backing = match &mut self.backing {
            Backing::Pinned(pins) => {
                let memory = Pins::allocate()?;
                let pages = pins.pages.split_off(before.len() >> PAGE_SHIFT)?;
                Backing::Pinned(Pins::new(pages, memory))
            }
            Backing::Pfnmap(region) => {
                region.split_at(address)?;
                Backing::Pfnmap(region.clone())
            }
            Backing::Mmio(phys) => Backing::Mmio((u64::from(*phys) + before.len()).into()),
        };
        self.guest = before;
        Ok(Some(Self {
            guest: after,
            rights: self.rights,
            backing,
            is_whole: self.is_whole,
            _count: Counted::new(&object_count::MAPPINGS),
        }))
    }

    /// Returns whether a notifier has unmapped the memory.
    fn is_lost(&self) -> bool {
        matches!(&self.backing, Backing::Pfnmap(region) if !region.is_mapped(self.guest))
    }
}

/// Physically contiguous memory: its address, and its length in bytes.
type Extent = (u64, u64);

/// The kind of memory that new memory is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pinned,
    Mmio,
}

/// The mappings of a VM, by their addresses.
///
/// # Invariants
///
/// Sorted by address, and no two overlap.
#[derive(Default)]
pub(super) struct Mappings(KVVec<Mapping>);

impl Mappings {
    /// The most mappings of a VM.
    const MAX: usize = 4096;

    /// Returns the index of the first mapping that ends after `address`.
    fn first_after(&self, address: GuestPhys) -> usize {
        self.0
            .partition_point(|mapping| mapping.guest.end() <= address)
    }

    fn overlapping(&self, guest: GuestRange) -> impl Iterator<Item = &Mapping> {
        let from = self.0.get(self.first_after(guest.start())..);
        let from = from.unwrap_or_default().iter();
        from.take_while(move |mapping| mapping.guest.overlaps(guest))
    }

    /// Returns whether no mapping overlaps `guest`.
    pub(super) fn is_empty_at(&self, guest: GuestRange) -> bool {
        self.overlapping(guest).next().is_none()
    }

    /// Returns whether pinned memory with the same rights is mapped at all of `guest`.
    pub(super) fn is_pinned(&self, guest: GuestRange, rights: AccessRights) -> bool {
        let mut covered = 0;
        for mapping in self.overlapping(guest) {
            let is_pinned = matches!(mapping.backing, Backing::Pinned(_));
            if !mapping.is_whole || mapping.rights != rights || !is_pinned {
                return false;
            }
            let part = mapping.guest.intersection(guest);
            covered += part.map_or(0, |part| part.len());
        }
        covered == guest.len()
    }

    /// Returns whether exactly `pages` are mapped at `guest`, with the same rights.
    pub(super) fn has_pages(
        &self,
        guest: GuestRange,
        rights: AccessRights,
        pages: &PinnedPages,
    ) -> bool {
        let runs = pages.runs().iter().map(|run| (run.phys(), run.len()));
        self.has(guest, rights, Kind::Pinned, runs)
    }

    /// Returns whether exactly `range` is mapped at `guest`, with the same rights.
    pub(super) fn has_mmio(
        &self,
        guest: GuestRange,
        rights: AccessRights,
        range: &MmioRange,
    ) -> bool {
        let extent = core::iter::once((range.phys(), range.len()));
        self.has(guest, rights, Kind::Mmio, extent)
    }

    fn has(
        &self,
        guest: GuestRange,
        rights: AccessRights,
        kind: Kind,
        mut extents: impl Iterator<Item = Extent>,
    ) -> bool {
        let mut covered = 0;
        let mut left: Extent = (0, 0);
        for mapping in self.overlapping(guest) {
            let Some(part) = mapping.guest.intersection(guest) else {
                return false;
            };
            covered += part.len();
            let skip = mapping.guest.offset(part.start());
            let same = mapping.is_whole
                && mapping.rights == rights
                && match &mapping.backing {
                    Backing::Pinned(pins) if kind == Kind::Pinned => {
                        let runs = pins.pages.runs().map(|run| (run.phys(), run.len()));
                        is_same(runs, skip, part.len(), &mut left, &mut extents)
                    }
                    Backing::Mmio(phys) if kind == Kind::Mmio => {
                        let all = core::iter::once((u64::from(*phys), mapping.guest.len()));
                        is_same(all, skip, part.len(), &mut left, &mut extents)
                    }
                    _ => false,
                };
            if !same {
                return false;
            }
        }
        covered == guest.len()
    }

    /// Reserves room for another mapping.
    ///
    /// Fails with `ENOSPC` if the VM has the most that it may have.
    pub(super) fn reserve(&mut self) -> Result {
        if self.0.len() >= Self::MAX {
            self.0.retain(|mapping| !mapping.is_lost());
        }
        if self.0.len() >= Self::MAX {
            return Err(ENOSPC);
        }
        self.0.reserve(1, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Adds a mapping for which room was reserved. Fails with `EEXIST` if it overlaps another one.
    pub(super) fn insert(&mut self, mapping: Mapping) -> Result {
        if !self.is_empty_at(mapping.guest) {
            return Err(EEXIST);
        }
        let index = self.first_after(mapping.guest.start());
        // INVARIANT: It follows all mappings that end before it begins, and overlaps none.
        self.0
            .insert_within_capacity(index, mapping)
            .map_err(|_| ENOSPC)
    }

    /// Splits the mapping that has `address` inside, if there is one.
    pub(super) fn split_at(&mut self, address: GuestPhys) -> Result {
        let index = self.first_after(address);
        let is_inside = |mapping: &Mapping| mapping.guest.split_at(address).is_some();
        if !self.0.get(index).is_some_and(is_inside) {
            return Ok(());
        }
        self.reserve()?;
        // This may have removed mappings.
        let index = self.first_after(address);
        let Some(mapping) = self.0.get_mut(index) else {
            return Ok(());
        };
        let Some(after) = mapping.split_off(address)? else {
            return Ok(());
        };
        // INVARIANT: The part that `mapping` no longer has.
        self.0
            .insert_within_capacity(index + 1, after)
            .map_err(|_| ENOSPC)
    }

    /// Returns the first mapping that overlaps `guest`.
    pub(super) fn first_in(&self, guest: GuestRange) -> Option<&Mapping> {
        self.overlapping(guest).next()
    }

    /// Records that the hypervisor failed to unmap the first mapping in `guest`: parts of it may be
    /// unmapped.
    pub(super) fn mark_first_partial(&mut self, guest: GuestRange) {
        let index = self.first_after(guest.start());
        if let Some(mapping) = self.0.get_mut(index) {
            mapping.is_whole = false;
        }
    }

    /// Removes the first mapping that overlaps `guest`, and returns it.
    pub(super) fn remove_first_in(&mut self, guest: GuestRange) -> Option<Mapping> {
        if self.is_empty_at(guest) {
            return None;
        }
        self.0.remove(self.first_after(guest.start())).ok()
    }

    /// Removes all mappings with a notifier.
    pub(super) fn remove_notifiers(&mut self) {
        self.0
            .retain(|mapping| !matches!(mapping.backing, Backing::Pfnmap(_)));
    }

    /// Removes all mappings, and returns their pins.
    pub(super) fn take_pins(&mut self) -> PinList {
        let mut pins = PinList::default();
        while let Some(mapping) = self.0.pop() {
            if let Backing::Pinned(some) = mapping.backing {
                pins.push(some);
            }
        }
        pins
    }
}

/// Returns whether the `len` bytes of `old` after the first `skip` bytes are the same physical
/// memory as the next `len` bytes of `left` followed by `new`, which are consumed.
fn is_same(
    old: impl Iterator<Item = Extent>,
    mut skip: u64,
    mut len: u64,
    left: &mut Extent,
    new: &mut impl Iterator<Item = Extent>,
) -> bool {
    for (mut phys, mut bytes) in old {
        cond_resched();
        let skipped = skip.min(bytes);
        skip -= skipped;
        phys += skipped;
        bytes = (bytes - skipped).min(len);
        while bytes > 0 {
            if left.1 == 0 {
                match new.next() {
                    Some(extent) => *left = extent,
                    None => return false,
                }
            }
            if left.0 != phys {
                return false;
            }
            let same = bytes.min(left.1);
            phys += same;
            bytes -= same;
            len -= same;
            *left = (left.0 + same, left.1 - same);
        }
        if len == 0 {
            break;
        }
    }
    len == 0
}
