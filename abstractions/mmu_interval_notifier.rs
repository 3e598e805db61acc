// SPDX-License-Identifier: GPL-2.0

//! Word of changes to the mappings of a range of user addresses, before they are made.
//!
//! C header: [`include/linux/mmu_notifier.h`](srctree/include/linux/mmu_notifier.h)

use super::{
    bindings as own,
    object_count::{
        self,
        Counted, //
    },
    pfnmap::{
        self,
        PfnRange, //
    },
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    bindings,
    error::to_result,
    ffi::c_ulong,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// A user of what a range of user addresses is mapped to.
pub(crate) trait Watcher: Send + Sync + 'static {
    /// What the lock guards that uses are made under.
    type State: Send + Unpin + 'static;

    /// What is mapped changes: stops the use, before it returns. Called with the lock held.
    fn stop(&self, state: &mut Self::State);
}

/// A [`Watcher`] of a range of user addresses, for as long as this lives. To drop it waits for calls of
/// [`Watcher::stop`], and so must not be done under their lock.
///
/// # Invariants
///
/// `notifier` is inserted, for `pages` pages from `start`.
#[pin_data(PinnedDrop)]
pub(crate) struct MmWatch<T: Watcher> {
    watcher: T,
    lock: Arc<Mutex<T::State>>,
    start: usize,
    pages: usize,
    #[pin]
    notifier: Opaque<bindings::mmu_interval_notifier>,
    _live: Counted,
}

// SAFETY: The notifier's functions may be called on any thread; the rest is `Send`.
unsafe impl<T: Watcher> Send for MmWatch<T> {}
// SAFETY: As above; the rest is `Sync`.
unsafe impl<T: Watcher> Sync for MmWatch<T> {}

/// What a range was mapped to when [`MmWatch::look_up`] looked.
pub(crate) struct Found<'a, T: Watcher> {
    watch: &'a MmWatch<T>,
    pfns: PfnRange,
    sequence: c_ulong,
}

/// What a range is mapped to, and is watched for changes.
pub(crate) struct WatchedPfns<'a>(&'a PfnRange);

impl WatchedPfns<'_> {
    /// Physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.0.phys()
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<T: Watcher> MmWatch<T> {
    const OPERATIONS: bindings::mmu_interval_notifier_ops = bindings::mmu_interval_notifier_ops {
        invalidate: Some(Self::invalidate),
        invalidate_start: None,
        invalidate_finish: None,
    };

    /// Watches `pages` pages from the user address `start` of the current task. Takes the mmap lock.
    ///
    /// Uses are made under `lock`. The mmap lock may be held when it is taken: under it that lock may not
    /// be taken, nor memory allocated that the kernel would have to make free.
    pub(crate) fn new(
        start: usize,
        pages: usize,
        lock: Arc<Mutex<T::State>>,
        watcher: T,
    ) -> Result<Pin<KBox<Self>>> {
        let task = current!();
        let mm = task.mm().ok_or(ESRCH)?;
        let len = pages.checked_mul(PAGE_SIZE).ok_or(EINVAL)?;
        KBox::try_pin_init(
            try_pin_init!(Self {
                watcher,
                lock,
                start,
                pages,
                notifier <- Opaque::try_ffi_init(|slot: *mut bindings::mmu_interval_notifier| {
                    // SAFETY: The slot is valid for writes, and pinned; `drop` takes the notifier
                    // off. The operations are a promoted constant. `watcher` and `lock`, which they
                    // use, were initialised before.
                    // INVARIANT: Inserted here.
                    to_result(unsafe {
                        bindings::mmu_interval_notifier_insert(
                            slot,
                            mm.as_raw(),
                            *start,
                            len,
                            &Self::OPERATIONS,
                        )
                    })
                }),
                _live: Counted::new(&object_count::WATCHES),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Looks at what the range is mapped to, as [`pfnmap::look_up`]. Called by a task of the process that
    /// the range is of. Sleeps until changes under way are over.
    pub(crate) fn look_up(&self, write: bool) -> Result<Found<'_, T>> {
        // SAFETY: Inserted, by the type invariant.
        let sequence = unsafe { bindings::mmu_interval_read_begin(self.notifier.get()) };
        Ok(Found {
            watch: self,
            pfns: pfnmap::look_up(self.start, self.pages, write)?,
            sequence,
        })
    }

    /// Runs `action` under the lock.
    pub(crate) fn with<R>(&self, action: impl FnOnce(&T, &mut T::State) -> R) -> R {
        action(&self.watcher, &mut self.lock.lock())
    }

    /// # Safety
    ///
    /// Called by the kernel for a notifier that `new` inserted.
    unsafe extern "C" fn invalidate(
        notifier: *mut bindings::mmu_interval_notifier,
        range: *const bindings::mmu_notifier_range,
        sequence: c_ulong,
    ) -> bool {
        // SAFETY: The notifier is that of an `MmWatch`, which stays while it is inserted.
        let watch =
            unsafe { &*kernel::container_of!(notifier.cast::<Opaque<_>>(), Self, notifier) };
        // SAFETY: The kernel passes a valid range.
        let range = unsafe { &*range };
        if range.flags & bindings::MMU_NOTIFIER_RANGE_BLOCKABLE == 0 {
            return false;
        }
        let mut state = watch.lock.lock();
        // SAFETY: Called for this notifier, under the lock that `commit` holds.
        unsafe { own::hsm_mmu_interval_set_seq(notifier.cast(), sequence) };
        // Soft-dirty tracking changes neither page nor access.
        if range.event != bindings::mmu_notifier_event_MMU_NOTIFY_SOFT_DIRTY {
            watch.watcher.stop(&mut state);
        }
        true
    }
}

impl<T: Watcher> Found<'_, T> {
    /// Runs `action` under the lock, unless what was found has changed since.
    pub(crate) fn commit<R>(
        &self,
        action: impl FnOnce(&T, &mut T::State, WatchedPfns<'_>) -> R,
    ) -> Option<R> {
        let watch = self.watch;
        let mut state = watch.lock.lock();
        // SAFETY: Inserted, by the type invariant. `invalidate` sets the number under the same lock.
        let changed =
            unsafe { own::hsm_mmu_interval_read_retry(watch.notifier.get().cast(), self.sequence) };
        (!changed).then(|| action(&watch.watcher, &mut state, WatchedPfns(&self.pfns)))
    }
}

#[pinned_drop]
impl<T: Watcher> PinnedDrop for MmWatch<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Inserted, by the type invariant. Waits for calls under way.
        unsafe { bindings::mmu_interval_notifier_remove(self.notifier.get()) };
    }
}
