// SPDX-License-Identifier: GPL-2.0

//! A spinlock that stays one on PREEMPT_RT, so that hard-IRQ context may take it.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use super::bindings as own;
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    ffi::c_char,
    sync::lock::{
        Backend,
        Guard,
        Lock, //
    },
};

/// Exposes the kernel's `raw_spinlock_t`, taken with interrupts disabled.
///
/// What is done under it must be bounded and may not take other locks than raw ones.
pub(crate) type RawSpinLockIrq<T> = Lock<T, RawSpinLockIrqBackend>;

/// Guard of a [`RawSpinLockIrq`].
pub(crate) type RawSpinLockIrqGuard<'a, T> = Guard<'a, T, RawSpinLockIrqBackend>;

/// Backend of [`RawSpinLockIrq`].
pub(crate) struct RawSpinLockIrqBackend;

// SAFETY: A `raw_spinlock_t` excludes all others while it is held. `relock` is the default.
unsafe impl Backend for RawSpinLockIrqBackend {
    type State = bindings::raw_spinlock_t;
    /// The interrupt flags to restore.
    type GuardState = usize;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: By the contract of `Backend`, `ptr` is valid for writes, and `name` and `key` live
        // for ever.
        unsafe { own::hsm_raw_spin_lock_init(ptr.cast(), name, key.cast()) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> usize {
        // SAFETY: By the contract of `Backend`, `ptr` is an initialised lock.
        unsafe { own::hsm_raw_spin_lock_irqsave(ptr.cast()) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<usize> {
        let mut flags = MaybeUninit::uninit();
        // SAFETY: By the contract of `Backend`, `ptr` is an initialised lock. `flags` is written to.
        let locked = unsafe { own::hsm_raw_spin_trylock_irqsave(ptr.cast(), flags.as_mut_ptr()) };
        // SAFETY: The flags are there if the lock was taken.
        locked.then(|| unsafe { flags.assume_init() })
    }

    unsafe fn unlock(ptr: *mut Self::State, flags: &usize) {
        // SAFETY: By the contract of `Backend`, the caller holds the lock, and `flags` came of that.
        unsafe { own::hsm_raw_spin_unlock_irqrestore(ptr.cast(), *flags) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By the contract of `Backend`, `ptr` is an initialised lock.
        unsafe { own::hsm_raw_spin_assert_is_held(ptr.cast()) }
    }
}
