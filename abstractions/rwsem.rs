// SPDX-License-Identifier: GPL-2.0

//! A sleeping lock with many readers or one writer.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// Exposes the kernel's `struct rw_semaphore` as a container.
///
/// # Invariants
///
/// `semaphore` is initialised and pinned.
#[pin_data]
pub(crate) struct RwSemaphore<T> {
    #[pin]
    semaphore: Opaque<bindings::rw_semaphore>,
    data: UnsafeCell<T>,
}

// SAFETY: The semaphore may be used from any thread, and moving it moves the data.
unsafe impl<T: Send> Send for RwSemaphore<T> {}
// SAFETY: Readers share `&T` between threads, a writer gets `&mut T` on any thread.
unsafe impl<T: Send + Sync> Sync for RwSemaphore<T> {}

impl<T> RwSemaphore<T> {
    /// Makes an initialiser; `name` and `key` are for lockdep.
    pub(crate) fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid for writes, `name` and `key` live for ever.
            // INVARIANT: Initialised here, pinned by `#[pin]`.
            semaphore <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
            data: UnsafeCell::new(data),
        })
    }

    /// Sleeps until no writer holds the lock, and holds it shared.
    ///
    /// Fails with `EINTR` if the task is to die.
    pub(crate) fn read_killable(&self) -> Result<ReadGuard<'_, T>> {
        // The shorter way, if there is nothing to wait for.
        if let Some(guard) = self.try_read() {
            return Ok(guard);
        }
        // SAFETY: The semaphore is initialised by the type invariant.
        to_result(unsafe { bindings::down_read_killable(self.semaphore.get()) })?;
        Ok(ReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Holds the lock shared, unless somebody holds it alone or waits to. Does not sleep.
    pub(crate) fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        // SAFETY: The semaphore is initialised by the type invariant.
        let held = unsafe { bindings::down_read_trylock(self.semaphore.get()) };
        (held != 0).then(|| ReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Sleeps until no other task holds the lock, and holds it exclusively.
    ///
    /// Fails with `EINTR` if the task is to die.
    pub(crate) fn write_killable(&self) -> Result<WriteGuard<'_, T>> {
        // SAFETY: The semaphore is initialised by the type invariant.
        to_result(unsafe { bindings::down_write_killable(self.semaphore.get()) })?;
        Ok(WriteGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// The data, by exclusive access to the lock itself.
    pub(crate) fn get_mut(self: Pin<&mut Self>) -> &mut T {
        self.project().data.get_mut()
    }
}

/// The lock is held shared for as long as this lives.
pub(crate) struct ReadGuard<'a, T> {
    lock: &'a RwSemaphore<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held shared, so nobody has a `&mut T`.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: This task holds the semaphore shared.
        unsafe { bindings::up_read(self.lock.semaphore.get()) };
    }
}

/// The lock is held alone for as long as this lives.
pub(crate) struct WriteGuard<'a, T> {
    lock: &'a RwSemaphore<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held alone, by this guard.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The lock is held alone, by this guard, which is borrowed mutably.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: This task holds the semaphore alone.
        unsafe { bindings::up_write(self.lock.semaphore.get()) };
    }
}
