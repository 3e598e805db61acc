// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The IOTLB: translations that an IOMMU caches for passed-through PCI devices.
//!
//! A translation that is removed from the tables of a VM stays in the cache until the device is
//! flushed.

use alloc::vec::Vec;

/// Maximum number of translations. A new one replaces the oldest.
pub const CAPACITY: usize = 1024;

/// The translation of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Address of the page in the Service VM.
    pub target: u64,
    /// The device may write to the page.
    pub writable: bool,
}

/// The translations: device, page in the VM, and entry.
#[derive(Default)]
pub struct Iotlb(Vec<(u16, u64, Entry)>);

impl Iotlb {
    /// Creates an empty cache.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the translation of `page` for a device.
    pub fn find(&self, device: u16, page: u64) -> Option<Entry> {
        let of_page = |e: &&(u16, u64, Entry)| (e.0, e.1) == (device, page);
        self.0.iter().find(of_page).map(|(_, _, entry)| *entry)
    }

    /// Inserts a translation that is not in the cache.
    pub fn insert(&mut self, device: u16, page: u64, entry: Entry) {
        if self.0.len() == CAPACITY {
            self.0.remove(0);
        }
        self.0.push((device, page, entry));
    }

    /// Flushes the translations of a device.
    pub fn flush(&mut self, device: u16) {
        self.0.retain(|(of, ..)| *of != device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(target: u64) -> Entry {
        Entry { target, writable: true }
    }

    #[test]
    fn kept_until_flushed() {
        let mut tlb = Iotlb::new();
        tlb.insert(1, 0x1000, entry(0x5000));
        tlb.insert(2, 0x1000, entry(0x6000));
        assert_eq!(tlb.find(1, 0x1000), Some(entry(0x5000)));
        assert_eq!(tlb.find(1, 0x2000), None);
        tlb.flush(1);
        assert_eq!((tlb.find(1, 0x1000), tlb.find(2, 0x1000)), (None, Some(entry(0x6000))));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut tlb = Iotlb::new();
        (0..=CAPACITY as u64).for_each(|page| tlb.insert(1, page, entry(page)));
        assert_eq!((tlb.find(1, 0), tlb.find(1, 1)), (None, Some(entry(1))));
    }
}
