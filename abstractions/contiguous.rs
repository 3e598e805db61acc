// SPDX-License-Identifier: GPL-2.0

//! Kernel memory that the hypervisor reads or writes by physical address.
//!
//! `kernel::dma` allocates memory for a device, at addresses of its
//! IOMMU. A [`KBox`] is physically contiguous, but does not say so in its type.

use super::{
    bindings,
    object_count::{
        self,
        Counted, //
    },
};
use core::{
    mem::MaybeUninit,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr, //
};
use kernel::{
    alloc::flags::{
        __GFP_ZERO, //
        GFP_KERNEL_ACCOUNT,
    },
    page::PAGE_SIZE,
    prelude::*,
    transmute::FromBytes,
    uaccess::UserSliceReader, //
};

/// A value in physically contiguous kernel memory, aligned for `T`.
///
/// # Examples
///
/// ```
/// use crate::abstractions::contiguous::Contiguous;
///
/// let mut number = Contiguous::new(1_u64)?;
/// *number += 1;
/// assert_eq!(*number, 2);
/// assert!(number.phys() % 8 == 0);
/// ```
///
/// # Invariants
///
/// The memory is a `kmalloc` allocation, so it lies in the direct map and is physically
/// contiguous. `phys` is its physical address.
pub(crate) struct Contiguous<T> {
    value: KBox<T>,
    phys: u64,
    _count: Counted,
}

impl<T: FromBytes> Contiguous<T> {
    /// Copies a `T` from user space. Bytes that `reader` does not have are zero.
    ///
    /// Copies every byte, padding included: the hypervisor sees the bytes that the user wrote and
    /// none of the kernel's.
    pub(crate) fn from_user(mut reader: UserSliceReader) -> Result<Self> {
        let length = reader.len().min(size_of::<T>());
        let flags = if length < size_of::<T>() {
            GFP_KERNEL_ACCOUNT | __GFP_ZERO
        } else {
            GFP_KERNEL_ACCOUNT
        };
        let mut memory = KBox::<T>::new_uninit(flags)?;
        // SAFETY: The allocation has at least `length` bytes, and `MaybeUninit<u8>` may hold any.
        let bytes = unsafe {
            core::slice::from_raw_parts_mut(memory.as_mut_ptr().cast::<MaybeUninit<u8>>(), length)
        };
        reader.read_raw(bytes)?;
        // SAFETY: `read_raw` initialised these bytes, the allocation the others, and any bytes are
        // a valid `T: FromBytes`.
        let value = unsafe { memory.assume_init() };
        Ok(Self::of(value))
    }
}

impl<T> Contiguous<T> {
    /// Moves `value` to contiguous memory.
    pub(crate) fn new(value: T) -> Result<Self> {
        Ok(Self::of(KBox::new(value, GFP_KERNEL_ACCOUNT)?))
    }

    fn of(value: KBox<T>) -> Self {
        // SAFETY: A `KBox` is a `kmalloc` allocation, whose address lies in the direct map.
        let phys = unsafe { bindings::hsm_virt_to_phys(ptr::from_ref::<T>(&value).cast()) };
        // INVARIANT: As above; the allocation never moves.
        Self {
            value,
            phys,
            _count: Counted::new(&object_count::BUFFERS),
        }
    }

    /// Returns the physical address of the value, which the hypervisor may read.
    pub(crate) fn phys(&self) -> u64 {
        self.phys
    }

    /// Returns the physical address of the value, which the hypervisor may write while the value
    /// is borrowed.
    pub(crate) fn phys_mut(&mut self) -> u64 {
        self.phys
    }
}

impl<T> Deref for Contiguous<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Contiguous<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A vector of fixed capacity in physically contiguous kernel memory.
///
/// # Examples
///
/// ```
/// use crate::abstractions::contiguous::ContiguousVec;
///
/// let mut numbers = ContiguousVec::<u64>::with_capacity_up_to(3)?;
/// numbers.refill([1, 2].into_iter())?;
/// assert_eq!(numbers.len(), 2);
///
/// let too_many = numbers.capacity() as u64 + 1;
/// assert_eq!(numbers.refill(0..too_many), Err(ENOSPC));
/// ```
///
/// # Invariants
///
/// The memory is a `kmalloc` allocation that never moves.
pub(crate) struct ContiguousVec<T> {
    entries: KVec<T>,
    _count: Counted,
}

impl<T> ContiguousVec<T> {
    /// The largest vector in bytes. The page allocator provides this much without compaction.
    const MAX_BYTES: usize = 8 * PAGE_SIZE;

    /// Allocates room for `wanted` entries, or for as many as [`Self::MAX_BYTES`] allows.
    pub(crate) fn with_capacity_up_to(wanted: usize) -> Result<Self> {
        let capacity = wanted.clamp(1, Self::MAX_BYTES / size_of::<T>());
        Ok(Self {
            // INVARIANT: A `KVec` is a `kmalloc` allocation, and nothing here makes it grow.
            entries: KVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT)?,
            _count: Counted::new(&object_count::BUFFERS),
        })
    }

    /// Returns the number of entries that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Replaces the contents by `source`.
    ///
    /// Fails with `ENOSPC` if `source` has more entries than fit.
    pub(crate) fn refill(&mut self, source: impl Iterator<Item = T>) -> Result {
        self.entries.clear();
        for entry in source {
            self.entries
                .push_within_capacity(entry)
                .map_err(|_| ENOSPC)?;
        }
        Ok(())
    }

    /// Returns the physical address of the first entry, which the hypervisor may read.
    pub(crate) fn phys(&self) -> u64 {
        // SAFETY: The address lies in the direct map by the type invariant.
        unsafe { bindings::hsm_virt_to_phys(self.entries.as_ptr().cast()) }
    }
}

impl<T> Deref for ContiguousVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.entries
    }
}
