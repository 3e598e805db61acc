// SPDX-License-Identifier: GPL-2.0

//! A sleeping lock with many readers or one writer.
//!
//! [`kernel::sync::Mutex`] has no readers, and neither it nor another lock of the kernel crate has
//! a wait that a fatal signal ends.
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

/// Creates a [`RwSemaphore`] initialiser with the given name and a new lock class.
macro_rules! new_rwsem {
    ($inner:expr, $name:literal $(,)?) => {
        $crate::abstractions::rwsem::RwSemaphore::new(
            $inner,
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_rwsem;

/// Exposes the kernel's `struct rw_semaphore` as a container.
///
/// # Examples
///
/// ```
/// use crate::abstractions::rwsem::{new_rwsem, RwSemaphore};
///
/// #[pin_data]
/// struct File {
///     #[pin]
///     vm: RwSemaphore<Option<u32>>,
/// }
///
/// let file = KBox::pin_init(pin_init!(File { vm <- new_rwsem!(None, "vm") }), GFP_KERNEL)?;
/// *file.vm.write_killable()? = Some(1);
/// assert_eq!(*file.vm.read_killable()?, Some(1));
/// ```
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
    /// Returns an initialiser. `name` and `key` are for lockdep; see [`new_rwsem!`].
    pub(crate) fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid for writes, `name` and `key` live forever.
            // INVARIANT: Initialised here, pinned by `#[pin]`.
            semaphore <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
            data: UnsafeCell::new(data),
        })
    }

    /// Takes the lock shared. Sleeps while a writer holds it.
    ///
    /// Fails with `EINTR` if the task is killed.
    pub(crate) fn read_killable(&self) -> Result<ReadGuard<'_, T>> {
        // The shorter path if there is nothing to wait for.
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

    /// Takes the lock shared, unless a writer holds it or waits for it. Does not sleep.
    pub(crate) fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        // SAFETY: The semaphore is initialised by the type invariant.
        let held = unsafe { bindings::down_read_trylock(self.semaphore.get()) };
        (held != 0).then(|| ReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Takes the lock exclusively. Sleeps while another task holds it.
    ///
    /// Fails with `EINTR` if the task is killed.
    pub(crate) fn write_killable(&self) -> Result<WriteGuard<'_, T>> {
        // SAFETY: The semaphore is initialised by the type invariant.
        to_result(unsafe { bindings::down_write_killable(self.semaphore.get()) })?;
        Ok(WriteGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Returns the data without locking: exclusive access to the lock is exclusive access to the
    /// data.
    pub(crate) fn get_mut(self: Pin<&mut Self>) -> &mut T {
        self.project().data.get_mut()
    }
}

/// A lock that is held shared. Dropping it releases the lock.
pub(crate) struct ReadGuard<'a, T> {
    lock: &'a RwSemaphore<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held shared, so there is no `&mut T`.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: This task holds the semaphore shared.
        unsafe { bindings::up_read(self.lock.semaphore.get()) };
    }
}

/// A lock that is held exclusively. Dropping it releases the lock.
pub(crate) struct WriteGuard<'a, T> {
    lock: &'a RwSemaphore<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: This guard holds the lock exclusively.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: This guard, which is borrowed mutably, holds the lock exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: This task holds the semaphore exclusively.
        unsafe { bindings::up_write(self.lock.semaphore.get()) };
    }
}
