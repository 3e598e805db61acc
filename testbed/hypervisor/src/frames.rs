// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The memory of mini-ACRN: a pool of pages for nested page tables, and a heap.

use core::cell::UnsafeCell;
use linked_list_allocator::LockedHeap;
use mini_acrn_logic::npt::{PAGE, TableMemory};
use spin::Mutex;

/// 24 MiB, which is enough for the tables of eight User VMs of 1 GiB in pages of 4 KiB.
const FRAMES: usize = 6144;
const HEAP: usize = 1 << 20;

#[repr(C, align(4096))]
struct Memory<const N: usize>(UnsafeCell<[u8; N]>);
// SAFETY: The pool is accessed only under the lock of `POOL`, the heap only under the lock of the
// allocator.
unsafe impl<const N: usize> Sync for Memory<N> {}

static FRAME_MEMORY: Memory<{ FRAMES * 4096 }> = Memory(UnsafeCell::new([0; FRAMES * 4096]));
static HEAP_MEMORY: Memory<HEAP> = Memory(UnsafeCell::new([0; HEAP]));

#[global_allocator]
static ALLOCATOR: LockedHeap = LockedHeap::empty();

/// Gives the heap its memory. Called once, before the first allocation.
pub fn init_heap() {
    // SAFETY: `HEAP_MEMORY` has no other use, and this runs once.
    unsafe { ALLOCATOR.lock().init(HEAP_MEMORY.0.get().cast(), HEAP) };
}

/// The pool of pages.
pub struct Pool {
    used: [u64; FRAMES / 64],
    count: usize,
}

/// The pool of pages.
pub static POOL: Mutex<Pool> = Mutex::new(Pool { used: [0; FRAMES / 64], count: 0 });

impl Pool {
    /// Returns the number of pages in use.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the entry `index` of `table`, which must be a page of the pool that is in use.
    fn entry(&self, table: u64, index: usize) -> *mut u64 {
        let base = FRAME_MEMORY.0.get() as u64;
        let frame = (table.wrapping_sub(base) / PAGE) as usize;
        assert!(
            table.is_multiple_of(PAGE) && frame < FRAMES && index < 512,
            "{table:#x} is not a table"
        );
        assert!(self.used[frame / 64] & 1 << (frame % 64) != 0, "table {table:#x} is free");
        (table as *mut u64).wrapping_add(index)
    }
}

impl TableMemory for Pool {
    fn alloc(&mut self) -> Option<u64> {
        let (word, bits) = self.used.iter_mut().enumerate().find(|(_, w)| **w != u64::MAX)?;
        let bit = bits.trailing_ones() as usize;
        *bits |= 1 << bit;
        self.count += 1;
        let frame = FRAME_MEMORY.0.get() as u64 + ((word * 64 + bit) as u64) * PAGE;
        // SAFETY: This is a page of the pool that was free until now. There is no other reference
        // to it.
        unsafe { (frame as *mut u8).write_bytes(0, PAGE as usize) };
        Some(frame)
    }

    fn free(&mut self, table: u64) {
        self.entry(table, 0);
        let frame = ((table - FRAME_MEMORY.0.get() as u64) / PAGE) as usize;
        self.used[frame / 64] &= !(1 << (frame % 64));
        self.count -= 1;
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        // SAFETY: `entry` has checked that this is an entry of a table in the pool. The access is
        // volatile, because the nested page-table walker of another CPU may set the accessed bit at
        // the same time.
        unsafe { self.entry(table, index).read_volatile() }
    }

    fn write(&mut self, table: u64, index: usize, entry: u64) {
        // SAFETY: As for `read`. The store is aligned and 8 bytes wide, so that a walker sees the
        // old or the new entry.
        unsafe { self.entry(table, index).write_volatile(entry) }
    }
}
