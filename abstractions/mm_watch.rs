// SPDX-License-Identifier: GPL-2.0

//! Word of changes to the mappings of a range of user addresses, before they are made.
//!
//! C header: [`include/linux/mmu_notifier.h`](srctree/include/linux/mmu_notifier.h)

use kernel::{
    bindings,
    error::to_result,
    ffi::c_ulong,
    prelude::*,
    sync::Mutex,
    types::Opaque, //
};

/// Who uses what a range of user addresses is mapped to.
pub(crate) trait Watcher: Send + Sync {
    /// What `lock` guards.
    type State: Send + Unpin;

    /// The lock that uses are made under. The mmap lock may be held when it is taken: under it that
    /// lock may not be taken, nor memory allocated that the kernel would have to make free.
    fn lock(&self) -> &Mutex<Self::State>;

    /// What is mapped changes: stops the use, before it returns. Called with the lock held.
    fn stop(&self, state: &mut Self::State);
}

/// A [`Watcher`] of a range of user addresses, for as long as this lives.
///
/// # Invariants
///
/// `notifier` is inserted.
#[pin_data(PinnedDrop)]
pub(crate) struct MmWatch<T: Watcher> {
    watcher: T,
    #[pin]
    notifier: Opaque<bindings::mmu_interval_notifier>,
}

// SAFETY: The notifier's functions may be called on any thread; the rest is `Send`.
unsafe impl<T: Watcher> Send for MmWatch<T> {}
// SAFETY: As above; the rest is `Sync`.
unsafe impl<T: Watcher> Sync for MmWatch<T> {}

/// A moment in the life of a range: see [`MmWatch::begin`].
#[derive(Clone, Copy)]
pub(crate) struct Moment(c_ulong);

impl<T: Watcher> MmWatch<T> {
    const OPERATIONS: bindings::mmu_interval_notifier_ops = bindings::mmu_interval_notifier_ops {
        invalidate: Some(Self::invalidate),
        invalidate_start: None,
        invalidate_finish: None,
    };

    /// Watches `len` bytes from the user address `start` of the current task. Takes the mmap lock.
    pub(crate) fn new(start: usize, len: usize, watcher: T) -> Result<Pin<KBox<Self>>> {
        let task = current!();
        let mm = task.mm().ok_or(ESRCH)?;
        KBox::try_pin_init(
            try_pin_init!(Self {
                watcher,
                notifier <- Opaque::try_ffi_init(|slot: *mut bindings::mmu_interval_notifier| {
                    // SAFETY: The slot is valid for writes, and pinned; `drop` takes the notifier
                    // off. The operations are a promoted constant. `watcher`, which they use, was
                    // initialised before.
                    // INVARIANT: Inserted here.
                    to_result(unsafe {
                        bindings::mmu_interval_notifier_insert(
                            slot,
                            mm.as_raw(),
                            start,
                            len,
                            &Self::OPERATIONS,
                        )
                    })
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// Begins to look at what is mapped. Sleeps until changes under way are over.
    pub(crate) fn begin(&self) -> Moment {
        // SAFETY: Inserted, by the type invariant.
        Moment(unsafe { bindings::mmu_interval_read_begin(self.notifier.get()) })
    }

    /// Runs `action` under the watcher's lock, unless what was looked at since `begun` has changed.
    pub(crate) fn commit<R>(
        &self,
        begun: Moment,
        action: impl FnOnce(&T, &mut T::State) -> R,
    ) -> Option<R> {
        let mut state = self.watcher.lock().lock();
        // SAFETY: Inserted, by the type invariant; written to under the same lock.
        let now = unsafe { (*self.notifier.get()).invalidate_seq };
        (now == begun.0).then(|| action(&self.watcher, &mut state))
    }

    /// Who watches.
    pub(crate) fn watcher(&self) -> &T {
        &self.watcher
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
        let mut state = watch.watcher.lock().lock();
        // SAFETY: The lock is held, under which all accesses of ours are.
        unsafe { (*notifier).invalidate_seq = sequence };
        // Soft-dirty tracking changes neither page nor access.
        if range.event != bindings::mmu_notifier_event_MMU_NOTIFY_SOFT_DIRTY {
            watch.watcher.stop(&mut state);
        }
        true
    }
}

#[pinned_drop]
impl<T: Watcher> PinnedDrop for MmWatch<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Inserted, by the type invariant. Waits for calls under way.
        unsafe { bindings::mmu_interval_notifier_remove(self.notifier.get()) };
    }
}
