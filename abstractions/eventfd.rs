// SPDX-License-Identifier: GPL-2.0

//! Event counters that user space created by `eventfd(2)`.
//!
//! The kernel crate has no abstraction for them.
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
/// # Examples
///
/// ```no_run
/// use crate::abstractions::eventfd::EventFd;
///
/// fn signal(fd: u32) -> Result {
///     EventFd::from_fd(fd)?.signal();
///     Ok(())
/// }
/// ```
///
/// # Invariants
///
/// `context` is valid, and this owns one reference to it.
pub(crate) struct EventFd {
    context: NonNull<own::eventfd_ctx>,
    _count: Counted,
}

// SAFETY: References and signals belong to no thread.
unsafe impl Send for EventFd {}
// SAFETY: `signal` takes the counter's own lock.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Returns the event counter of `file`.
    ///
    /// Fails with `EINVAL` if `file` is not an eventfd.
    pub(crate) fn from_file(file: &LocalFile) -> Result<Self> {
        // SAFETY: The file is valid.
        let context = from_err_ptr(unsafe { own::hsm_eventfd_ctx_fileget(file.as_ptr().cast()) })?;
        // INVARIANT: The function took the reference that this now owns.
        Ok(Self {
            context: NonNull::new(context).ok_or(EINVAL)?,
            _count: Counted::new(&object_count::EVENTFDS),
        })
    }

    /// Returns the event counter behind a file descriptor of the current task.
    ///
    /// Fails with `EBADF` if there is no such descriptor, and with `EINVAL` if it is not that of
    /// an eventfd.
    pub(crate) fn from_fd(fd: u32) -> Result<Self> {
        Self::from_file(&*LocalFile::fget(fd)?)
    }

    /// Adds 1 to the counter and wakes its waiters.
    ///
    /// Any context in which a `spinlock_t` may be taken.
    pub(crate) fn signal(&self) {
        // SAFETY: Valid by the type invariant. The mask adds no bits to the wake-up's `EPOLLIN`.
        unsafe { own::eventfd_signal_mask(self.context.as_ptr(), 0) };
    }

    /// Returns the pointer, for calls to C.
    pub(super) fn as_ptr(&self) -> *mut own::eventfd_ctx {
        self.context.as_ptr()
    }
}

impl PartialEq for EventFd {
    /// Returns whether both are the same counter.
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
