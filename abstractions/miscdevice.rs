// SPDX-License-Identifier: GPL-2.0

//! A misc device with attributes that exist before its first uevent.
//!
//! [`kernel::miscdevice::MiscDeviceRegistration`] has no attributes.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use super::device_attribute::AttributeGroups;
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::to_result,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions, //
    },
    prelude::*,
    types::Opaque, //
};

/// A registration of a misc device. Dropping it deregisters the device.
///
/// # Invariants
///
/// - `inner` is a registered `struct miscdevice` made by [`MiscDeviceOptions::into_raw`].
/// - The layout is that of [`kernel::miscdevice::MiscDeviceRegistration`], to which the kernel
///   crate casts the pointer.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub(crate) struct MiscDeviceWithAttributes<T> {
    #[pin]
    inner: Opaque<bindings::miscdevice>,
    _t: PhantomData<T>,
}

// SAFETY: `misc_deregister` may be called on any thread.
unsafe impl<T> Send for MiscDeviceWithAttributes<T> {}
// SAFETY: There are no `&self` methods.
unsafe impl<T> Sync for MiscDeviceWithAttributes<T> {}

impl<T: MiscDevice> MiscDeviceWithAttributes<T> {
    /// Returns an initialiser that registers a misc device. User space may open it from then on.
    pub(crate) fn register(
        options: MiscDeviceOptions,
        attributes: Option<&'static AttributeGroups>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let mut device = options.into_raw::<T>();
                if let Some(attributes) = attributes {
                    device.groups = attributes.as_ptr();
                }
                // SAFETY: The slot is valid for writes.
                unsafe { slot.write(device) };
                // SAFETY: The device was initialised above, is pinned, and is deregistered by
                // `drop`.
                // INVARIANT: Registered if this succeeds.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
            _t: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T> PinnedDrop for MiscDeviceWithAttributes<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::misc_deregister(self.inner.get()) };
    }
}
