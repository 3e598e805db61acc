// SPDX-License-Identifier: GPL-2.0

//! What was set of a VM's memory. A segment that is set over others replaces them, so no two overlap.

use super::{
    page_range::PageRange,
    parking::{
        PinList,
        Pins, //
    },
    pfnmap_region::PfnMapping, //
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
    hypercall::AccessRights, //
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc, //
};

/// What is behind a mapping.
pub(super) enum Backing {
    /// Pinned memory.
    Pinned(KBox<Pins>),
    /// Memory that is watched, and that the hypervisor maps until it is lost. Parts of one segment share it.
    Watched(Arc<PfnMapping>),
    /// The memory of a device, from a physical address on.
    Mmio(u64),
}

/// A segment that was set, or what is left of one.
pub(super) struct Mapping {
    pub(super) guest: PageRange,
    pub(super) rights: AccessRights,
    pub(super) backing: Backing,
    /// The hypervisor maps all of it. False if it failed in the middle of mapping it or of taking it away.
    is_whole: bool,
    _live: Counted,
}

impl Mapping {
    /// Memory that the hypervisor maps, or, if not `is_whole`, may have mapped some of.
    pub(super) fn new(
        guest: PageRange,
        rights: AccessRights,
        backing: Backing,
        is_whole: bool,
    ) -> Self {
        Self {
            guest,
            rights,
            backing,
            is_whole,
            _live: Counted::new(&object_count::MAPPINGS),
        }
    }

    /// Bytes of it that are RAM for as long as it lives: memory that is watched may be lost.
    pub(super) fn pinned_bytes(&self) -> u64 {
        match self.backing {
            Backing::Pinned(_) => self.guest.len(),
            Backing::Watched(_) | Backing::Mmio(_) => 0,
        }
    }

    /// Takes the part from `address` on out of `self`; `None` if that is not inside.
    fn split_off(&mut self, address: u64) -> Result<Option<Self>> {
        let Some((before, after)) = self.guest.split_at(address) else {
            return Ok(None);
        };
        let backing = match &mut self.backing {
            Backing::Pinned(pins) => {
                let room = Pins::room()?;
                let pages = pins.pages.split_off(before.len() >> PAGE_SHIFT)?;
                Backing::Pinned(Pins::new(pages, room))
            }
            Backing::Watched(pfns) => {
                pfns.split_at(address)?;
                Backing::Watched(pfns.clone())
            }
            Backing::Mmio(phys) => Backing::Mmio(*phys + before.len()),
        };
        self.guest = before;
        Ok(Some(Self {
            guest: after,
            rights: self.rights,
            backing,
            is_whole: self.is_whole,
            _live: Counted::new(&object_count::MAPPINGS),
        }))
    }

    fn is_lost(&self) -> bool {
        matches!(&self.backing, Backing::Watched(pfns) if !pfns.is_mapped(self.guest))
    }
}

/// A piece of physical memory: its address, and its length in bytes.
type Piece = (u64, u64);

/// What new memory is to be compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pinned,
    Mmio,
}

/// All mappings of one VM, by their addresses.
///
/// # Invariants
///
/// Sorted by address; no two overlap.
#[derive(Default)]
pub(super) struct Mappings(KVVec<Mapping>);

impl Mappings {
    /// Mappings that a VM may have.
    const MAX: usize = 4096;

    /// Index of the first mapping that ends behind `address`.
    fn first_behind(&self, address: u64) -> usize {
        self.0
            .partition_point(|mapping| mapping.guest.end() <= address)
    }

    fn overlapping(&self, guest: PageRange) -> impl Iterator<Item = &Mapping> {
        let from = self.0.get(self.first_behind(guest.start())..);
        let from = from.unwrap_or_default().iter();
        from.take_while(move |mapping| mapping.guest.overlaps(guest))
    }

    /// Whether there is anything in `guest`.
    pub(super) fn is_empty_at(&self, guest: PageRange) -> bool {
        self.overlapping(guest).next().is_none()
    }

    /// Whether just `pages` are at `guest` already, with the same rights.
    pub(super) fn has_pages(
        &self,
        guest: PageRange,
        rights: AccessRights,
        pages: &PinnedPages,
    ) -> bool {
        let runs = pages.runs().iter().map(|run| (run.phys(), run.len()));
        self.has(guest, rights, Kind::Pinned, runs)
    }

    /// Whether just `range` is at `guest` already, with the same rights.
    pub(super) fn has_mmio(
        &self,
        guest: PageRange,
        rights: AccessRights,
        range: &MmioRange,
    ) -> bool {
        let piece = core::iter::once((range.phys(), range.len()));
        self.has(guest, rights, Kind::Mmio, piece)
    }

    fn has(
        &self,
        guest: PageRange,
        rights: AccessRights,
        kind: Kind,
        mut pieces: impl Iterator<Item = Piece>,
    ) -> bool {
        let mut covered = 0;
        let mut left: Piece = (0, 0);
        for mapping in self.overlapping(guest) {
            let Some(part) = mapping.guest.intersection(guest) else {
                return false;
            };
            covered += part.len();
            let skip = part.start() - mapping.guest.start();
            let same = mapping.is_whole
                && mapping.rights == rights
                && match &mapping.backing {
                    Backing::Pinned(pins) if kind == Kind::Pinned => {
                        let runs = pins.pages.runs().map(|run| (run.phys(), run.len()));
                        is_same(runs, skip, part.len(), &mut left, &mut pieces)
                    }
                    Backing::Mmio(phys) if kind == Kind::Mmio => {
                        let all = core::iter::once((*phys, mapping.guest.len()));
                        is_same(all, skip, part.len(), &mut left, &mut pieces)
                    }
                    _ => false,
                };
            if !same {
                return false;
            }
        }
        covered == guest.len()
    }

    /// Makes room for one more mapping. `ENOSPC` if the VM has as many as it may have.
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

    /// Adds a mapping, for which there is room, where there is none.
    pub(super) fn insert(&mut self, mapping: Mapping) -> Result {
        if !self.is_empty_at(mapping.guest) {
            return Err(EEXIST);
        }
        let index = self.first_behind(mapping.guest.start());
        // INVARIANT: Before it are all mappings that end before it begins, and none overlaps.
        self.0
            .insert_within_capacity(index, mapping)
            .map_err(|_| ENOSPC)
    }

    /// Makes two mappings of one that has `address` inside.
    pub(super) fn split_at(&mut self, address: u64) -> Result {
        let index = self.first_behind(address);
        let is_inside = |mapping: &Mapping| mapping.guest.split_at(address).is_some();
        if !self.0.get(index).is_some_and(is_inside) {
            return Ok(());
        }
        self.reserve()?;
        // That may have removed some.
        let index = self.first_behind(address);
        let Some(mapping) = self.0.get_mut(index) else {
            return Ok(());
        };
        let Some(after) = mapping.split_off(address)? else {
            return Ok(());
        };
        // INVARIANT: The part that `mapping` does not have any more.
        self.0
            .insert_within_capacity(index + 1, after)
            .map_err(|_| ENOSPC)
    }

    /// The first mapping in `guest`.
    pub(super) fn first_in(&self, guest: PageRange) -> Option<&Mapping> {
        self.overlapping(guest).next()
    }

    /// The hypervisor failed to take away the first mapping in `guest`: some of it may be gone.
    pub(super) fn distrust_first_in(&mut self, guest: PageRange) {
        let index = self.first_behind(guest.start());
        if let Some(mapping) = self.0.get_mut(index) {
            mapping.is_whole = false;
        }
    }

    /// Takes out the first mapping in `guest`.
    pub(super) fn remove_first_in(&mut self, guest: PageRange) -> Option<Mapping> {
        if self.is_empty_at(guest) {
            return None;
        }
        self.0.remove(self.first_behind(guest.start())).ok()
    }

    /// Takes out what is watched.
    pub(super) fn stop_watching(&mut self) {
        self.0
            .retain(|mapping| !matches!(mapping.backing, Backing::Watched(_)));
    }

    /// Takes out all mappings; their pins are returned.
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

/// Whether `len` bytes of `old`, behind the first `skip` ones, are the next of `left` and `new`.
fn is_same(
    old: impl Iterator<Item = Piece>,
    mut skip: u64,
    mut len: u64,
    left: &mut Piece,
    new: &mut impl Iterator<Item = Piece>,
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
                    Some(piece) => *left = piece,
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
