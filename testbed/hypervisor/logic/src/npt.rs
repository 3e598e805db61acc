// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Nested page tables (AMD APM vol. 2, 15.25): long-mode format, four levels, user bit always set.
//!
//! Bits 52 to 56 of a leaf, which the hardware ignores here, hold the caching type of the region,
//! so that a look-up can return it.

use bitflags::bitflags;

/// Size of a page in bytes.
pub const PAGE: u64 = 4096;
/// First address beyond the range of four levels.
pub const TOP: u64 = 1 << 48;
const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
const TYPE_SHIFT: u32 = 52;
const TYPE: u64 = 0x1F << TYPE_SHIFT;
/// Flags of an entry that points to a table.
const TABLE: u64 = PRESENT | WRITE | USER;

bitflags! {
    /// Access rights, as in `ACRN_MEM_ACCESS_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u32 {
        /// Readable.
        const READ = 1;
        /// Writable.
        const WRITE = 2;
        /// Executable.
        const EXEC = 4;
    }
}

/// The memory of tables. Addresses are physical and page-aligned.
pub trait TableMemory {
    /// Allocates a page of zeros. Returns `None` if there is none left.
    fn alloc(&mut self) -> Option<u64>;
    /// Frees a page.
    fn free(&mut self, table: u64);
    /// Returns entry `index` of `table`.
    fn read(&self, table: u64, index: usize) -> u64;
    /// Writes entry `index` of `table`.
    fn write(&mut self, table: u64, index: usize, entry: u64);
}

/// There is no page left for a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfPages;

/// A leaf entry, as a look-up returns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Address that the queried address translates to.
    pub target: u64,
    /// Access rights.
    pub access: Access,
    /// `ACRN_MEM_TYPE_*`.
    pub mem_type: u32,
    /// Size in bytes of the range that the leaf maps.
    pub size: u64,
}

/// Access rights and caching type of a region, `ACRN_MEM_ACCESS_* | ACRN_MEM_TYPE_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr(pub u32);

impl Attr {
    fn flags(self) -> u64 {
        let access = Access::from_bits_truncate(self.0);
        let mut f = USER | (u64::from(self.0 >> 6) & 0x1F) << TYPE_SHIFT;
        if access.contains(Access::READ) {
            f |= PRESENT;
        }
        if access.contains(Access::WRITE) {
            f |= WRITE;
        }
        if !access.contains(Access::EXEC) {
            f |= NO_EXECUTE;
        }
        f
    }
}

/// Returns the size of the range that an entry of `level` covers. Level 1 is the lowest.
fn span(level: u32) -> u64 {
    PAGE << (9 * (level - 1))
}

fn index(addr: u64, level: u32) -> usize {
    (addr >> (12 + 9 * (level - 1))) as usize & 511
}

fn is_leaf(entry: u64, level: u32) -> bool {
    level == 1 || entry & LARGE != 0
}

/// A tree of tables. [`Npt::destroy`] frees it. Dropping it does not.
pub struct Npt {
    root: u64,
    mapped: u64,
}

impl Npt {
    /// Creates an empty tree.
    pub fn new(mem: &mut impl TableMemory) -> Result<Self, OutOfPages> {
        Ok(Self { root: mem.alloc().ok_or(OutOfPages)?, mapped: 0 })
    }

    /// Returns the address of the root table, the value for nCR3.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Returns the number of bytes that are mapped.
    pub fn mapped_bytes(&self) -> u64 {
        self.mapped
    }

    /// Maps `size` bytes at `addr` to `target`, with the largest pages up to `span(max_level)` that
    /// fit.
    ///
    /// Pages that are already mapped stay as they are, as on ACRN. Returns whether there were any.
    pub fn map(
        &mut self,
        mem: &mut impl TableMemory,
        addr: u64,
        target: u64,
        size: u64,
        attr: Attr,
        max_level: u32,
    ) -> Result<bool, OutOfPages> {
        let (mut done, mut overlap) = (0, false);
        while done < size {
            let (a, t) = (addr + done, target + done);
            let mut level = max_level;
            while level > 1 && ((a | t) & (span(level) - 1) != 0 || size - done < span(level)) {
                level -= 1;
            }
            let (step, mapped) = self.map_run(mem, a, t, size - done, attr, level)?;
            overlap |= !mapped;
            done += step;
        }
        Ok(overlap)
    }

    /// Maps pages of one size, at most that of level `want`, until a table is full or `size` bytes
    /// are done. Returns the number of bytes processed, and false if they were mapped already.
    fn map_run(
        &mut self,
        mem: &mut impl TableMemory,
        addr: u64,
        target: u64,
        size: u64,
        attr: Attr,
        mut want: u32,
    ) -> Result<(u64, bool), OutOfPages> {
        let (mut table, mut level) = (self.root, 4);
        loop {
            let entry = mem.read(table, index(addr, level));
            if entry & PRESENT != 0 && is_leaf(entry, level) {
                let rest = span(level) - (addr & (span(level) - 1));
                return Ok((rest.min(span(want)), false));
            }
            if level == want && entry & PRESENT != 0 {
                // Smaller pages are mapped here already: fill the gaps between them.
                want -= 1;
            }
            if level == want {
                let flags = attr.flags() | if level > 1 { LARGE } else { 0 };
                let mut done = 0;
                for i in index(addr, level)..512 {
                    if size - done < span(level) || mem.read(table, i) & PRESENT != 0 {
                        break;
                    }
                    mem.write(table, i, (target + done) | flags);
                    done += span(level);
                }
                if flags & PRESENT != 0 {
                    self.mapped += done;
                }
                return Ok((done, true));
            }
            if entry & PRESENT == 0 {
                let next = mem.alloc().ok_or(OutOfPages)?;
                mem.write(table, index(addr, level), next | TABLE);
                table = next;
            } else {
                table = entry & ADDRESS;
            }
            level -= 1;
        }
    }

    /// Unmaps all that is mapped in the `size` bytes from `addr` on.
    pub fn unmap(
        &mut self,
        mem: &mut impl TableMemory,
        addr: u64,
        size: u64,
    ) -> Result<(), OutOfPages> {
        let end = addr.saturating_add(size).min(TOP);
        let mut at = addr;
        while at < end {
            let (table, level, entry) = self.find(mem, at);
            let (start, len) = (at & !(span(level) - 1), span(level));
            if entry & PRESENT != 0 {
                if start < at || end - start < len {
                    self.split(mem, table, level, index(at, level), entry)?;
                    continue;
                }
                mem.write(table, index(at, level), 0);
                self.mapped -= len;
            }
            at = start + len;
        }
        Ok(())
    }

    /// Changes the access rights of a mapped page, in a leaf of its own. A concurrent walker sees
    /// the old or the new rights.
    pub fn protect(
        &mut self,
        mem: &mut impl TableMemory,
        addr: u64,
        attr: Attr,
    ) -> Result<(), OutOfPages> {
        loop {
            let (table, level, entry) = self.find(mem, addr);
            if entry & PRESENT == 0 {
                return Ok(());
            }
            if level == 1 {
                mem.write(table, index(addr, level), entry & ADDRESS | attr.flags());
                return Ok(());
            }
            self.split(mem, table, level, index(addr, level), entry)?;
        }
    }

    fn split(
        &mut self,
        mem: &mut impl TableMemory,
        table: u64,
        level: u32,
        index: usize,
        entry: u64,
    ) -> Result<(), OutOfPages> {
        let lower = mem.alloc().ok_or(OutOfPages)?;
        let large = if level > 2 { LARGE } else { 0 };
        let flags = entry & !(ADDRESS | LARGE) | large;
        for i in 0..512 {
            let target = (entry & ADDRESS) + i as u64 * span(level - 1);
            mem.write(lower, i, target | flags);
        }
        mem.write(table, index, lower | TABLE);
        Ok(())
    }

    /// Returns the entry where the walk to `addr` ends: a leaf, or an entry that is not present.
    /// Returns table, level and entry.
    fn find(&self, mem: &impl TableMemory, addr: u64) -> (u64, u32, u64) {
        let (mut table, mut level) = (self.root, 4);
        loop {
            let entry = mem.read(table, index(addr, level));
            if entry & PRESENT == 0 || is_leaf(entry, level) {
                return (table, level, entry);
            }
            table = entry & ADDRESS;
            level -= 1;
        }
    }

    /// Looks up `addr`.
    pub fn query(&self, mem: &impl TableMemory, addr: u64) -> Option<Leaf> {
        if addr >= TOP {
            return None;
        }
        let (_, level, entry) = self.find(mem, addr);
        if entry & PRESENT == 0 {
            return None;
        }
        let mut access = Access::READ;
        access.set(Access::WRITE, entry & WRITE != 0);
        access.set(Access::EXEC, entry & NO_EXECUTE == 0);
        Some(Leaf {
            target: (entry & ADDRESS & !(span(level) - 1)) + (addr & (span(level) - 1)),
            access,
            mem_type: (((entry & TYPE) >> TYPE_SHIFT) as u32) << 6,
            size: span(level),
        })
    }

    /// Returns whether each page of a range is mapped. The first page must be mapped even if `size`
    /// is 0.
    pub fn maps_all(&self, mem: &impl TableMemory, addr: u64, size: u64) -> bool {
        let mut at = addr;
        while let Some(leaf) = self.query(mem, at) {
            at = (at & !(leaf.size - 1)) + leaf.size;
            if at - addr >= size {
                return true;
            }
        }
        false
    }

    /// Frees every table.
    pub fn destroy(self, mem: &mut impl TableMemory) {
        Self::free_level(mem, self.root, 4);
    }

    fn free_level(mem: &mut impl TableMemory, table: u64, level: u32) {
        if level > 1 {
            for i in 0..512 {
                let entry = mem.read(table, i);
                if entry & PRESENT != 0 && !is_leaf(entry, level) {
                    Self::free_level(mem, entry & ADDRESS, level - 1);
                }
            }
        }
        mem.free(table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[derive(Default)]
    struct Heap {
        pages: HashMap<u64, Box<[u64; 512]>>,
        next: u64,
        limit: usize,
    }

    impl Heap {
        fn new() -> Self {
            Self { limit: 100, ..Self::default() }
        }
    }

    impl TableMemory for Heap {
        fn alloc(&mut self) -> Option<u64> {
            if self.pages.len() == self.limit {
                return None;
            }
            self.next += PAGE;
            self.pages.insert(self.next, Box::new([0; 512]));
            Some(self.next)
        }
        fn free(&mut self, table: u64) {
            self.pages.remove(&table).expect("freed once");
        }
        fn read(&self, table: u64, index: usize) -> u64 {
            self.pages[&table][index]
        }
        fn write(&mut self, table: u64, index: usize, entry: u64) {
            self.pages.get_mut(&table).unwrap()[index] = entry;
        }
    }

    const RAM: Attr = Attr(0x47);
    const READ_ONLY: Attr = Attr(0x41);

    #[test]
    fn one_page_is_protected() {
        let mut heap = Heap::new();
        let mut npt = Npt::new(&mut heap).unwrap();
        npt.map(&mut heap, 0, 0, 1 << 30, RAM, 3).unwrap();
        let page = 3 * MIB2 + 5 * PAGE;
        let writable = |npt: &Npt, heap: &Heap, addr| {
            let leaf = npt.query(heap, addr).expect("mapped");
            assert_eq!(leaf.target, addr);
            leaf.access.contains(Access::WRITE)
        };
        npt.protect(&mut heap, page, READ_ONLY).unwrap();
        assert!(!writable(&npt, &heap, page));
        for other in [0, page - PAGE, page + PAGE, (1 << 30) - PAGE] {
            assert!(writable(&npt, &heap, other));
        }
        npt.protect(&mut heap, page, RAM).unwrap();
        assert!(writable(&npt, &heap, page));
        npt.protect(&mut heap, 2 << 30, READ_ONLY).unwrap();
        assert_eq!(npt.query(&heap, 2 << 30), None);
        assert_eq!(npt.mapped_bytes(), 1 << 30);
    }
    const MIB2: u64 = 2 << 20;

    #[test]
    fn large_pages_where_they_fit() {
        let (mut m, addr) = (Heap::new(), 0x20_0000 - PAGE);
        let mut n = Npt::new(&mut m).unwrap();
        assert!(!n.map(&mut m, addr, 0x4000_0000 - PAGE, MIB2 + 2 * PAGE, RAM, 3).unwrap());
        assert_eq!(n.query(&m, addr).unwrap().size, PAGE);
        let leaf = n.query(&m, 0x21_2345).unwrap();
        assert_eq!((leaf.size, leaf.target), (MIB2, 0x4001_2345));
        assert_eq!((leaf.access, leaf.mem_type), (Access::all(), 0x40));
        assert_eq!(n.query(&m, 0x40_0000).unwrap().target, 0x4020_0000);
        assert_eq!(n.query(&m, 0x40_1000), None);
        assert_eq!(n.mapped_bytes(), MIB2 + 2 * PAGE);
        n.destroy(&mut m);
        assert!(m.pages.is_empty());
    }

    #[test]
    fn unmap_splits_a_large_page() {
        let mut m = Heap::new();
        let mut n = Npt::new(&mut m).unwrap();
        n.map(&mut m, 0, 0, 1 << 30, RAM, 3).unwrap();
        n.unmap(&mut m, 0x20_1000, 2 * PAGE).unwrap();
        assert_eq!(n.query(&m, 0x20_0FFF).unwrap().target, 0x20_0FFF);
        assert_eq!(n.query(&m, 0x20_1000), None);
        assert_eq!(n.query(&m, 0x20_2FFF), None);
        assert_eq!(n.query(&m, 0x20_3000).unwrap().target, 0x20_3000);
        assert_eq!(n.query(&m, 0x3FFF_F000).unwrap().target, 0x3FFF_F000);
        assert_eq!(n.mapped_bytes(), (1 << 30) - 2 * PAGE);
        // The hole is filled, and the pages around it stay.
        assert!(n.map(&mut m, 0x20_0000, MIB2 * 10, MIB2, RAM, 2).unwrap());
        assert_eq!(n.query(&m, 0x20_1000).unwrap().target, MIB2 * 10 + PAGE);
        assert_eq!(n.query(&m, 0x20_0000).unwrap().target, 0x20_0000);
        assert_eq!(n.mapped_bytes(), 1 << 30);
        n.unmap(&mut m, 0, 1 << 30).unwrap();
        assert_eq!(n.mapped_bytes(), 0);
        n.destroy(&mut m);
        assert!(m.pages.is_empty());
    }

    #[test]
    fn holes_are_found() {
        let mut mem = Heap::new();
        let mut npt = Npt::new(&mut mem).unwrap();
        npt.map(&mut mem, 0x20_0000, 0x40_0000, 0x40_0000, RAM, 2).unwrap();
        assert!(npt.maps_all(&mem, 0x20_1000, 0x3F_F000));
        assert!(!npt.maps_all(&mem, 0x20_1000, 0x40_0000));
        assert!(npt.maps_all(&mem, 0x20_0000, 0) && !npt.maps_all(&mem, 0x60_0000, 0));
        npt.unmap(&mut mem, 0x3F_F000, PAGE).unwrap();
        assert!(npt.maps_all(&mem, 0x20_0000, 0x1F_F000));
        assert!(!npt.maps_all(&mem, 0x20_0000, 0x20_0000));
    }

    #[test]
    fn rights_and_running_out() {
        let mut m = Heap { limit: 4, ..Heap::new() };
        let mut n = Npt::new(&mut m).unwrap();
        n.map(&mut m, 0x1000, 0x5000, PAGE, Attr(0x101), 2).unwrap();
        let leaf = n.query(&m, 0x1000).unwrap();
        assert_eq!((leaf.access, leaf.mem_type), (Access::READ, 0x100));
        assert_eq!(n.map(&mut m, 1 << 40, 0, PAGE, RAM, 2), Err(OutOfPages));
        assert_eq!(n.query(&m, 1 << 48), None);
        n.destroy(&mut m);
        assert!(m.pages.is_empty());
    }
}
