// SPDX-License-Identifier: GPL-2.0

//! Event counters that user space made by `eventfd(2)`.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use super::{
    bindings as own,
    object_count::{
        self,
        Counted, //
    },
};
use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    fs::file::LocalFile,
    prelude::*, //
};

/// A counted reference to a `struct eventfd_ctx`.
///
/// # Invariants
///
/// `context` is valid, and holds one reference of ours.
pub(crate) struct EventFd {
    context: NonNull<own::eventfd_ctx>,
    _live: Counted,
}

// SAFETY: References and signals belong to no thread.
unsafe impl Send for EventFd {}
// SAFETY: `signal` takes the counter's own lock.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// The event counter that `file` is; `EINVAL` if it is something else.
    pub(crate) fn from_file(file: &LocalFile) -> Result<Self> {
        // SAFETY: The file is valid.
        let context = from_err_ptr(unsafe { own::hsm_eventfd_from_file(file.as_ptr().cast()) })?;
        // INVARIANT: The function took a reference, which is ours now.
        Ok(Self {
            context: NonNull::new(context).ok_or(EINVAL)?,
            _live: Counted::new(&object_count::EVENTFDS),
        })
    }

    /// The event counter behind a file descriptor of the current task; `EBADF` or `EINVAL`.
    pub(crate) fn from_fd(fd: u32) -> Result<Self> {
        Self::from_file(&*LocalFile::fget(fd)?)
    }

    /// Adds 1 to the counter and wakes who waits for it. Any context in which a `spinlock_t` may be
    /// taken.
    pub(crate) fn signal(&self) {
        // SAFETY: Valid by the type invariant. No bits are added to the wake-up's `EPOLLIN`.
        unsafe { own::eventfd_signal_mask(self.context.as_ptr(), 0) };
    }

    /// The pointer, for calls to C.
    pub(super) fn as_ptr(&self) -> *mut own::eventfd_ctx {
        self.context.as_ptr()
    }
}

impl PartialEq for EventFd {
    /// Whether both are the same counter.
    fn eq(&self, other: &Self) -> bool {
        self.context == other.context
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: Our reference, by the type invariant.
        unsafe { own::eventfd_ctx_put(self.context.as_ptr()) };
    }
}
