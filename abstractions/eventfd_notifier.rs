// SPDX-License-Identifier: GPL-2.0

//! A call for each signal of an eventfd, made where the signal is.
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
    prelude::*,
    types::Opaque, //
};

const EPOLLIN: usize = 0x001;
const EPOLLHUP: usize = 0x010;

/// Who is called.
///
/// Both functions are called with the counter's lock held and interrupts disabled: they may not
/// sleep, and may not use an eventfd.
pub(crate) trait Listener: Send + Sync {
    /// The counter is not 0. If it returns true, the event is taken off the counter.
    fn signalled(&self) -> bool;

    /// The last file of the eventfd was closed: user space will not signal it any more.
    fn hung_up(&self);
}

/// A [`Listener`] hooked to an eventfd, for as long as this lives.
///
/// # Invariants
///
/// `entry` is on the wait queue `queue`, which is that of `eventfd`; or `queue` is null.
#[pin_data(PinnedDrop)]
pub(crate) struct EventFdHook<T: Listener + 'static> {
    listener: T,
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    /// Written once, by `enqueue`, before the hook can be shared.
    queue: UnsafeCell<*mut bindings::wait_queue_head>,
    eventfd: EventFd,
    _live: Counted,
}

// SAFETY: The entry is used by the wait queue's functions only, which lock; the rest is `Send`.
unsafe impl<T: Listener + 'static> Send for EventFdHook<T> {}
// SAFETY: `queue` does not change any more once the hook is shared; the rest is `Sync`.
unsafe impl<T: Listener + 'static> Sync for EventFdHook<T> {}

/// What `vfs_poll` hands to [`EventFdHook::enqueue`].
#[repr(C)]
struct PollTable<T: Listener + 'static> {
    table: bindings::poll_table,
    hook: *const EventFdHook<T>,
}

impl<T: Listener + 'static> EventFdHook<T> {
    /// Hooks `listener` to the eventfd that `file` is (`EINVAL` if it is something else). Process
    /// context.
    ///
    /// An event from before is still on the counter: see [`Self::take_event`].
    pub(crate) fn new(file: &LocalFile, listener: T) -> Result<Pin<KBox<Self>>> {
        let eventfd = EventFd::from_file(file)?;
        let hook = KBox::pin_init(
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
                _live: Counted::new(&object_count::IRQFDS),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let mut table = PollTable {
            table: bindings::poll_table {
                _qproc: Some(Self::enqueue),
                _key: !0,
            },
            hook: &raw const *hook,
        };
        // SAFETY: The file is valid; the table lives on this stack and is used in the call only.
        unsafe { own::hsm_vfs_poll(file.as_ptr().cast(), (&raw mut table.table).cast()) };
        Ok(hook)
    }

    /// Called by the file's `poll`.
    ///
    /// # Safety
    ///
    /// `table` must be that of a [`PollTable`], and `queue` the file's.
    unsafe extern "C" fn enqueue(
        _file: *mut bindings::file,
        queue: *mut bindings::wait_queue_head,
        table: *mut bindings::poll_table,
    ) {
        // SAFETY: The table is the first field of the `PollTable` in `new`, whose hook is alive.
        let hook = unsafe { &*(*table.cast::<PollTable<T>>()).hook };
        // SAFETY: `new` has not returned, so nobody else uses the field. An eventfd has one queue,
        // so this is called once.
        // INVARIANT: The entry is put on the queue below. The queue is part of the counter, which
        // `eventfd` keeps.
        unsafe { *hook.queue.get() = queue };
        // SAFETY: The entry is initialised and pinned; `drop` takes it off.
        unsafe { bindings::add_wait_queue(queue, hook.entry.get()) };
    }

    /// Called by a wake-up of the wait queue, with its lock held.
    ///
    /// # Safety
    ///
    /// `entry` must be that of a hook which is alive.
    unsafe extern "C" fn wake(
        entry: *mut bindings::wait_queue_entry,
        _mode: c_uint,
        _flags: c_int,
        key: *mut c_void,
    ) -> c_int {
        // SAFETY: The entry is that of a hook, which takes it off under the queue's lock, held here,
        // before it goes.
        let hook = unsafe { &*container_of!(entry.cast::<Opaque<_>>(), Self, entry) };
        let events = key as usize;
        if events & EPOLLIN != 0 && hook.listener.signalled() {
            let mut count = 0;
            // SAFETY: The counter is valid, and its lock, which is the queue's, is held.
            unsafe { own::eventfd_ctx_do_read(hook.eventfd.as_ptr(), &raw mut count) };
        }
        if events & EPOLLHUP != 0 {
            hook.listener.hung_up();
        }
        0
    }

    /// Takes an event off the counter; whether there was one. Process context.
    pub(crate) fn take_event(&self) -> bool {
        // SAFETY: Written before the hook could be shared.
        let queue = unsafe { *self.queue.get() };
        if queue.is_null() {
            return false;
        }
        // SAFETY: The counter and its queue are valid by the type invariant.
        unsafe { own::hsm_eventfd_take(self.eventfd.as_ptr(), queue.cast()) != 0 }
    }

    /// Who is called.
    pub(crate) fn listener(&self) -> &T {
        &self.listener
    }

    /// What it is hooked to.
    pub(crate) fn eventfd(&self) -> &EventFd {
        &self.eventfd
    }
}

#[pinned_drop]
impl<T: Listener + 'static> PinnedDrop for EventFdHook<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Nobody shares the hook any more.
        let queue = unsafe { *self.queue.get() };
        if !queue.is_null() {
            // SAFETY: The entry is on this queue, by the type invariant. The queue's lock, taken in
            // the call, waits for a wake-up under way.
            unsafe { bindings::remove_wait_queue(queue, self.entry.get()) };
        }
    }
}
