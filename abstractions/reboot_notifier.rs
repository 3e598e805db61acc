// SPDX-License-Identifier: GPL-2.0

//! A callback before the kernel restarts, halts, powers off, or boots another kernel by kexec.
//!
//! The kernel crate has no abstraction for notifier chains.
//!
//! C header: [`include/linux/reboot.h`](srctree/include/linux/reboot.h)

use super::bindings as own;
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    prelude::*,
    types::Opaque, //
};

/// A receiver of the callback.
pub(crate) trait Reboot {
    /// Handles that the kernel is about to go down. Process context; user processes may still run.
    fn reboot();
}

/// A registration of a reboot notifier. Dropping it unregisters the notifier.
///
/// # Examples
///
/// ```
/// use crate::abstractions::reboot_notifier::{Reboot, RebootNotifier};
///
/// struct Announce;
///
/// impl Reboot for Announce {
///     fn reboot() {
///         pr_info!("The machine is going down\n");
///     }
/// }
///
/// let _notifier = KBox::try_pin_init(RebootNotifier::<Announce>::register(), GFP_KERNEL)?;
/// ```
///
/// # Invariants
///
/// `block` is registered.
#[pin_data(PinnedDrop)]
pub(crate) struct RebootNotifier<T: Reboot> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    _t: PhantomData<T>,
}

// SAFETY: The functions on the block lock, and may be called on any thread.
unsafe impl<T: Reboot> Send for RebootNotifier<T> {}
// SAFETY: There are no `&self` methods.
unsafe impl<T: Reboot> Sync for RebootNotifier<T> {}

impl<T: Reboot> RebootNotifier<T> {
    /// Returns an initialiser that registers the notifier.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                let block = bindings::notifier_block {
                    notifier_call: Some(Self::call),
                    ..Default::default()
                };
                // SAFETY: The slot is valid for writes.
                unsafe { slot.write(block) };
                // SAFETY: The block was initialised above, is pinned, and is unregistered by
                // `drop`.
                // INVARIANT: Registered if this succeeds.
                to_result(unsafe { own::hsm_register_reboot_notifier(slot.cast()) })
            }),
            _t: PhantomData,
        })
    }

    /// # Safety
    ///
    /// Called by the kernel's chain of reboot notifiers.
    unsafe extern "C" fn call(
        _block: *mut bindings::notifier_block,
        _action: c_ulong,
        _command: *mut c_void,
    ) -> c_int {
        T::reboot();
        // `NOTIFY_DONE`.
        0
    }
}

#[pinned_drop]
impl<T: Reboot> PinnedDrop for RebootNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered, by the type invariant. Waits for a call in progress.
        unsafe { own::hsm_unregister_reboot_notifier(self.block.get().cast()) };
    }
}
