// SPDX-License-Identifier: GPL-2.0

//! A list of reference-counted objects that hard-IRQ context can walk without a lock.

use core::cell::UnsafeCell;
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        rcu,
        Arc, //
    },
};

/// A copy-update-publish list: readers walk one of two copies under RCU, the one writer changes the
/// other, publishes it, and waits for a grace period before it empties the old one.
///
/// # Invariants
///
/// - `live` is 0 or 1.
/// - `copies[live]` is not changed. The other copy is touched by the [`Writer`] only, is empty
///   between its calls, and has room for all entries of the live one but one.
pub(crate) struct IrqList<T> {
    copies: [UnsafeCell<KVec<Arc<T>>>; 2],
    live: Atomic<u32>,
}

// SAFETY: Readers share `&Arc<T>` on any CPU, the writer drops `Arc<T>` on any thread.
unsafe impl<T: Send + Sync> Sync for IrqList<T> {}

impl<T> IrqList<T> {
    /// Makes an empty list.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Both copies are empty.
        Self {
            copies: [UnsafeCell::new(KVec::new()), UnsafeCell::new(KVec::new())],
            live: Atomic::new(0),
        }
    }

    /// Calls `visit` for each entry. Any context.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&T)) {
        let _rcu = rcu::read_lock();
        // Acquire pairs with the release in `Writer::publish`.
        let [first, second] = &self.copies;
        let live = if self.live.load(ordering::Acquire) == 0 {
            first
        } else {
            second
        };
        // SAFETY: This copy was live after `rcu_read_lock`, so the writer does not touch it before
        // the end of a grace period, which the guard holds up.
        let entries: &KVec<Arc<T>> = unsafe { &*live.get() };
        for entry in entries.iter() {
            visit(entry);
        }
    }
}

/// The right to change an [`IrqList`].
pub(crate) struct Writer<T: 'static> {
    list: &'static IrqList<T>,
}

impl<T> Writer<T> {
    /// Makes the writer of a list.
    ///
    /// # Safety
    ///
    /// There may be only one writer of a list.
    pub(crate) const unsafe fn new(list: &'static IrqList<T>) -> Self {
        Self { list }
    }

    /// The entries. Process context.
    pub(crate) fn entries(&mut self) -> &[Arc<T>] {
        self.copies().0
    }

    /// Adds an entry. Process context; sleeps for a grace period.
    pub(crate) fn add(&mut self, entry: Arc<T>) -> Result<(), AllocError> {
        let (old, new) = self.copies();
        new.reserve(old.len() + 1, GFP_KERNEL_ACCOUNT)?;
        for kept in old.iter() {
            // Room was reserved.
            let _ = new.push_within_capacity(kept.clone());
        }
        let _ = new.push_within_capacity(entry);
        self.publish();
        Ok(())
    }

    /// Takes an entry off. Process context; sleeps for a grace period, so that no reader has the
    /// entry any more when this returns. Does not allocate.
    pub(crate) fn remove(&mut self, entry: &Arc<T>) {
        let (old, new) = self.copies();
        if !old.iter().any(|listed| Arc::ptr_eq(listed, entry)) {
            return;
        }
        for kept in old.iter().filter(|kept| !Arc::ptr_eq(kept, entry)) {
            // There is room for all but one, by the type invariant of the list.
            let _ = new.push_within_capacity(kept.clone());
        }
        self.publish();
    }

    /// Takes all entries off, and frees the list's own memory. Process context; sleeps for a grace
    /// period.
    pub(crate) fn clear(&mut self) {
        self.publish();
        self.publish();
        let (_, spare) = self.copies();
        *spare = KVec::new();
        self.publish();
        let (_, spare) = self.copies();
        *spare = KVec::new();
    }

    /// The live copy and the spare one.
    fn copies(&mut self) -> (&KVec<Arc<T>>, &mut KVec<Arc<T>>) {
        let [first, second] = &self.list.copies;
        let (live, spare) = if self.list.live.load(ordering::Relaxed) == 0 {
            (first, second)
        } else {
            (second, first)
        };
        // SAFETY: Nobody changes the live copy; only the one writer, borrowed mutably here, touches
        // the spare one.
        unsafe { (&*live.get(), &mut *spare.get()) }
    }

    /// Makes the spare copy the live one and empties the old one when no reader has it any more.
    fn publish(&mut self) {
        let live = self.list.live.load(ordering::Relaxed);
        self.list.live.store(live ^ 1, ordering::Release);
        rcu::synchronize_rcu();
        // The copy that was live is the spare one now. INVARIANT: It had room for the entries that
        // were live before this one change.
        let (_, spare) = self.copies();
        spare.clear();
    }
}
