// SPDX-License-Identifier: GPL-2.0

//! Users of a range of a process's address space that must stop before its mapping changes.
//!
//! [`kernel::mm`] has no notifiers.
//!
//! C header: [`include/linux/mmu_notifier.h`](srctree/include/linux/mmu_notifier.h), and
//! [`Documentation/mm/mmu_notifier.rst`](srctree/Documentation/mm/mmu_notifier.rst)

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
    bindings,
    container_of,
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

/// A user of the memory to which a range of user addresses is mapped.
///
/// # Safety
///
/// [`Self::invalidate`] must request the end of every access to the memory that the user was given
/// as [`NotifiedPfns`], which may be freed afterwards.
pub(crate) unsafe trait Invalidate: Send + Sync + 'static {
    /// The state that the lock of all uses guards.
    type State: Send + Unpin + 'static;

    /// Stops the use before the mapping changes. Called with the lock held.
    fn invalidate(&self, state: &mut Self::State);
}

/// A notifier for a range of user addresses. Dropping it waits for calls of
/// [`Invalidate::invalidate`] in progress, so it must not be dropped under their lock.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::mmu_interval_notifier::{Invalidate, MmuIntervalNotifier};
/// use kernel::{
///     new_mutex,
///     sync::Arc, //
/// };
///
/// /// Keeps the physical address of the range in its state, if it is mapped.
/// struct Address;
///
/// // SAFETY: The address is only known, not accessed.
/// unsafe impl Invalidate for Address {
///     type State = Option<u64>;
///
///     fn invalidate(&self, state: &mut Option<u64>) {
///         *state = None;
///     }
/// }
///
/// fn follow(start: usize) -> Result<Pin<KBox<MmuIntervalNotifier<Address>>>> {
///     let lock = Arc::pin_init(new_mutex!(None), GFP_KERNEL)?;
///     let notifier = MmuIntervalNotifier::new(start, 1, lock, Address)?;
///     loop {
///         let followed = notifier.follow_pfnmap(true)?;
///         if followed
///             .commit(|_, state, pfns| *state = Some(pfns.phys()))
///             .is_some()
///         {
///             break;
///         }
///     }
///     Ok(notifier)
/// }
/// ```
///
/// # Invariants
///
/// `notifier` is inserted, for `pages` pages from `start`.
#[pin_data(PinnedDrop)]
pub(crate) struct MmuIntervalNotifier<T: Invalidate> {
    user: T,
    lock: Arc<Mutex<T::State>>,
    start: usize,
    pages: usize,
    #[pin]
    notifier: Opaque<bindings::mmu_interval_notifier>,
    _count: Counted,
}

// SAFETY: The functions of the notifier may be called on any thread; the rest is `Send`.
unsafe impl<T: Invalidate> Send for MmuIntervalNotifier<T> {}
// SAFETY: As above; the rest is `Sync`.
unsafe impl<T: Invalidate> Sync for MmuIntervalNotifier<T> {}

/// The memory that [`MmuIntervalNotifier::follow_pfnmap`] found, and the notifier's sequence number
/// at that time.
pub(crate) struct Followed<'a, T: Invalidate> {
    notifier: &'a MmuIntervalNotifier<T>,
    pfns: PfnRange,
    seq: c_ulong,
}

/// Memory to which the range of a notifier is mapped right now.
pub(crate) struct NotifiedPfns<'a>(&'a PfnRange);

impl NotifiedPfns<'_> {
    /// Returns the physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.0.phys()
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<T: Invalidate> MmuIntervalNotifier<T> {
    const OPERATIONS: bindings::mmu_interval_notifier_ops = bindings::mmu_interval_notifier_ops {
        invalidate: Some(Self::invalidate),
        invalidate_start: None,
        invalidate_finish: None,
    };

    /// Inserts a notifier for `pages` pages from the user address `start` of the current task.
    ///
    /// Uses are made under `lock`.
    ///
    /// # Context
    ///
    /// Process context. Takes the mmap lock. `lock` may be taken with the mmap lock held, so the
    /// mmap lock must not be taken under `lock`, nor memory allocated that needs reclaim.
    pub(crate) fn new(
        start: usize,
        pages: usize,
        lock: Arc<Mutex<T::State>>,
        user: T,
    ) -> Result<Pin<KBox<Self>>> {
        let task = current!();
        let mm = task.mm().ok_or(ESRCH)?;
        let len = pages.checked_mul(PAGE_SIZE).ok_or(EINVAL)?;
        KBox::try_pin_init(
            try_pin_init!(Self {
                user,
                lock,
                start,
                pages,
                // Before the notifier, which may be called as soon as it is inserted.
                _count: Counted::new(&object_count::NOTIFIERS),
                notifier <- Opaque::try_ffi_init(|slot: *mut bindings::mmu_interval_notifier| {
                    // SAFETY: The slot is valid for writes and pinned; `drop` removes the
                    // notifier. The operations are a promoted constant. They use the other fields,
                    // which were initialised before.
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
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the memory to which the range is mapped. Sleeps until changes in progress are over.
    ///
    /// Fails as [`pfnmap::follow_pfnmap`], and with `ESRCH` if the current task is not of the
    /// process that inserted the notifier.
    pub(crate) fn follow_pfnmap(&self, write: bool) -> Result<Followed<'_, T>> {
        let task = current!();
        let mm = task.mm().ok_or(ESRCH)?;
        // SAFETY: Inserted, by the type invariant. The address space does not change.
        if mm.as_raw() != unsafe { (*self.notifier.get()).mm } {
            return Err(ESRCH);
        }
        // SAFETY: Inserted, by the type invariant.
        let seq = unsafe { bindings::mmu_interval_read_begin(self.notifier.get()) };
        Ok(Followed {
            notifier: self,
            pfns: pfnmap::follow_pfnmap(self.start, self.pages, write)?,
            seq,
        })
    }

    /// Runs `action` under the lock.
    pub(crate) fn with<R>(&self, action: impl FnOnce(&T, &mut T::State) -> R) -> R {
        action(&self.user, &mut self.lock.lock())
    }

    /// # Safety
    ///
    /// Called by the kernel for a notifier that `new` inserted.
    unsafe extern "C" fn invalidate(
        notifier: *mut bindings::mmu_interval_notifier,
        range: *const bindings::mmu_notifier_range,
        seq: c_ulong,
    ) -> bool {
        // SAFETY: The notifier is that of an `MmuIntervalNotifier`, which exists while it is
        // inserted.
        let this = unsafe { &*container_of!(notifier.cast::<Opaque<_>>(), Self, notifier) };
        // SAFETY: The kernel passes a valid range.
        let range = unsafe { &*range };
        if range.flags & bindings::MMU_NOTIFIER_RANGE_BLOCKABLE == 0 {
            return false;
        }
        let mut state = this.lock.lock();
        // SAFETY: Called for this notifier, under the lock that `commit` takes.
        unsafe { own::hsm_mmu_interval_set_seq(notifier.cast(), seq) };
        // Soft-dirty tracking changes neither the page nor the access to it.
        if range.event != bindings::mmu_notifier_event_MMU_NOTIFY_SOFT_DIRTY {
            this.user.invalidate(&mut state);
        }
        true
    }
}

impl<T: Invalidate> Followed<'_, T> {
    /// Runs `action` under the lock. Returns `None` if the mapping has changed meanwhile.
    pub(crate) fn commit<R>(
        &self,
        action: impl FnOnce(&T, &mut T::State, NotifiedPfns<'_>) -> R,
    ) -> Option<R> {
        let this = self.notifier;
        let mut state = this.lock.lock();
        // SAFETY: Inserted, by the type invariant. `invalidate` sets the number under the same
        // lock.
        let changed =
            unsafe { own::hsm_mmu_interval_read_retry(this.notifier.get().cast(), self.seq) };
        (!changed).then(|| action(&this.user, &mut state, NotifiedPfns(&self.pfns)))
    }
}

#[pinned_drop]
impl<T: Invalidate> PinnedDrop for MmuIntervalNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Inserted, by the type invariant. Waits for calls in progress.
        unsafe { bindings::mmu_interval_notifier_remove(self.notifier.get()) };
    }
}
