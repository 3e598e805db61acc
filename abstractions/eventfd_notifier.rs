// SPDX-License-Identifier: GPL-2.0

//! A callback for each signal of an eventfd, called from within the signal.
//!
//! [`kernel::sync::poll`] is for files that are polled; this is for a driver that polls a file.
//!
//! C headers: [`include/linux/wait.h`](srctree/include/linux/wait.h),
//! [`include/linux/poll.h`](srctree/include/linux/poll.h)

use super::{
    bindings as own,
    eventfd::EventFd,
    object_count::{
        self,
        Counted, //
    },
};
use core::{
    cell::UnsafeCell,
    ptr, //
};
use kernel::{
    bindings,
    container_of,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    fs::file::LocalFile,
    interrupt::LocalInterruptDisabled,
    prelude::*,
    types::Opaque, //
};

const EPOLLIN: usize = 0x001;
const EPOLLHUP: usize = 0x010;

/// A receiver of the signals of an eventfd.
///
/// Both functions are called with the counter's lock held, which is a `spinlock_t`: they may
/// neither sleep nor use an eventfd.
pub(crate) trait Listener: Send + Sync {
    /// Handles a signal: the counter is not 0. If this returns true, the counter is read: it
    /// is reset to 0, or decremented by 1 if it is an `EFD_SEMAPHORE`.
    ///
    /// `irq` proves that interrupts are disabled, unless the kernel is PREEMPT_RT.
    fn signalled(&self, irq: Option<&LocalInterruptDisabled>) -> bool;

    /// Handles the close of the eventfd's last file. User space cannot signal it any more.
    fn hung_up(&self);
}

/// A [`Listener`] on the wait queue of an eventfd. Dropping it takes the listener off the queue.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::eventfd_notifier::{EventFdNotifier, Listener};
/// use kernel::{
///     fs::file::LocalFile,
///     interrupt::LocalInterruptDisabled,
///     sync::atomic::{ordering, Atomic},
/// };
///
/// struct Counter(Atomic<u32>);
///
/// impl Listener for Counter {
///     fn signalled(&self, _irq: Option<&LocalInterruptDisabled>) -> bool {
///         self.0.add(1, ordering::Relaxed);
///         true
///     }
///
///     fn hung_up(&self) {}
/// }
///
/// fn listen(fd: u32) -> Result<Pin<KBox<EventFdNotifier<Counter>>>> {
///     EventFdNotifier::new(&*LocalFile::fget(fd)?, Counter(Atomic::new(0)))
/// }
/// ```
///
/// # Invariants
///
/// `entry` is on the wait queue `queue`, which is that of `eventfd`; or `queue` is null.
#[pin_data(PinnedDrop)]
pub(crate) struct EventFdNotifier<T: Listener + 'static> {
    listener: T,
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    /// Written once, by `enqueue`, before the notifier is shared.
    queue: UnsafeCell<*mut bindings::wait_queue_head>,
    eventfd: EventFd,
    _count: Counted,
}

// SAFETY: Only the functions of the wait queue use the entry, and they lock; the rest is `Send`.
unsafe impl<T: Listener + 'static> Send for EventFdNotifier<T> {}
// SAFETY: `queue` does not change once the notifier is shared; the rest is `Sync`.
unsafe impl<T: Listener + 'static> Sync for EventFdNotifier<T> {}

/// The table that `vfs_poll` passes to [`EventFdNotifier::enqueue`].
#[repr(C)]
struct PollTable<T: Listener + 'static> {
    table: bindings::poll_table,
    notifier: *const EventFdNotifier<T>,
}

impl<T: Listener + 'static> EventFdNotifier<T> {
    /// Puts `listener` on the wait queue of the eventfd `file`. Process context.
    ///
    /// The listener is not called for an event that is on the counter already; see
    /// [`Self::take_event`]. Fails with `EINVAL` if `file` is not an eventfd.
    pub(crate) fn new(file: &LocalFile, listener: T) -> Result<Pin<KBox<Self>>> {
        let eventfd = EventFd::from_file(file)?;
        let notifier = KBox::pin_init(
            pin_init!(Self {
                listener,
                entry <- Opaque::ffi_init(|slot: *mut bindings::wait_queue_entry| {
                    let entry = bindings::wait_queue_entry {
                        func: Some(Self::wake),
                        ..Default::default()
                    };
                    // SAFETY: The slot is valid for writes.
                    unsafe { slot.write(entry) };
                }),
                // INVARIANT: On no queue yet.
                queue: UnsafeCell::new(ptr::null_mut()),
                eventfd,
                _count: Counted::new(&object_count::IRQFDS),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let mut table = PollTable {
            table: bindings::poll_table {
                _qproc: Some(Self::enqueue),
                _key: !0,
            },
            notifier: &raw const *notifier,
        };
        // SAFETY: The file is valid. The table lives on this stack and is used in the call only.
        unsafe { own::hsm_vfs_poll(file.as_ptr().cast(), (&raw mut table.table).cast()) };
        Ok(notifier)
    }

    /// # Safety
    ///
    /// Called by the `poll` of a file. `table` must be that of a [`PollTable`], and `queue` that of
    /// the file.
    unsafe extern "C" fn enqueue(
        _file: *mut bindings::file,
        queue: *mut bindings::wait_queue_head,
        table: *mut bindings::poll_table,
    ) {
        // SAFETY: The table is the first field of the `PollTable` in `new`, whose notifier is
        // alive.
        let notifier = unsafe { &*(*table.cast::<PollTable<T>>()).notifier };
        // SAFETY: `new` has not returned, so nothing else uses the field. An eventfd has one
        // queue, so this is called once.
        // INVARIANT: The entry is put on the queue below. The queue is part of the counter, which
        // `eventfd` keeps alive.
        unsafe { *notifier.queue.get() = queue };
        // SAFETY: The entry is initialised and pinned; `drop` takes it off.
        unsafe { bindings::add_wait_queue(queue, notifier.entry.get()) };
    }

    /// # Safety
    ///
    /// Called by a wake-up of the wait queue, with its lock held. `entry` must be that of a
    /// notifier that is alive.
    unsafe extern "C" fn wake(
        entry: *mut bindings::wait_queue_entry,
        _mode: c_uint,
        _flags: c_int,
        key: *mut c_void,
    ) -> c_int {
        // SAFETY: The entry is that of a notifier, which takes it off under the queue's lock, held
        // here, before it is freed.
        let notifier = unsafe { &*container_of!(entry.cast::<Opaque<_>>(), Self, entry) };
        // SAFETY: The lock of an eventfd's wait queue is only taken with interrupts disabled. On
        // PREEMPT_RT it sleeps, and interrupts are enabled.
        let irq = cfg!(not(CONFIG_PREEMPT_RT))
            .then(|| unsafe { LocalInterruptDisabled::assume_disabled() });
        let events = key as usize;
        if events & EPOLLIN != 0 && notifier.listener.signalled(irq) {
            let mut count = 0;
            // SAFETY: The counter is valid, and its lock, which is the queue's, is held.
            unsafe { own::eventfd_ctx_do_read(notifier.eventfd.as_ptr(), &raw mut count) };
        }
        if events & EPOLLHUP != 0 {
            notifier.listener.hung_up();
        }
        0
    }

    /// Reads the counter: resets it to 0, or decrements an `EFD_SEMAPHORE` by 1. Returns whether it
    /// was not 0. Process context.
    pub(crate) fn take_event(&self) -> bool {
        // SAFETY: Written before the notifier was shared.
        let queue = unsafe { *self.queue.get() };
        if queue.is_null() {
            return false;
        }
        // SAFETY: The counter and its queue are valid by the type invariant.
        unsafe { own::hsm_eventfd_take(self.eventfd.as_ptr(), queue.cast()) != 0 }
    }

    /// Waits until calls of the listener that are in progress have returned. Later calls see all
    /// that the caller has done before.
    pub(crate) fn wait_for_listener(&self) {
        // SAFETY: Written before the notifier was shared.
        let queue = unsafe { *self.queue.get() };
        if !queue.is_null() {
            // SAFETY: The queue is valid by the type invariant.
            unsafe { own::hsm_wait_for_wake_up(queue.cast()) };
        }
    }

    /// Returns the listener.
    pub(crate) fn listener(&self) -> &T {
        &self.listener
    }

    /// Returns the eventfd.
    pub(crate) fn eventfd(&self) -> &EventFd {
        &self.eventfd
    }
}

#[pinned_drop]
impl<T: Listener + 'static> PinnedDrop for EventFdNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Nothing else refers to the notifier any more.
        let queue = unsafe { *self.queue.get() };
        if !queue.is_null() {
            // SAFETY: The entry is on this queue, by the type invariant. The call takes the
            // queue's lock, and so waits for a wake-up in progress.
            unsafe { bindings::remove_wait_queue(queue, self.entry.get()) };
        }
    }
}
