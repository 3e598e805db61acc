// SPDX-License-Identifier: GPL-2.0

//! Write-only attributes of a device in sysfs.
//!
//! The kernel crate has no abstraction for attributes; `kernel::configfs` is the closest.
//!
//! C header: [`include/linux/device.h`](srctree/include/linux/device.h)

use core::{
    ptr,
    slice, //
};
use kernel::{
    bindings,
    ffi::c_char,
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        BStr, //
    },
};

/// An attribute that root can write.
pub(crate) trait WriteOnlyAttribute {
    /// Name of the file.
    const NAME: &'static CStr;

    /// Handles a write of `text`, which is at most a page. Process context.
    fn store(text: &BStr) -> Result;
}

/// The C tables that lead to a single attribute. A value belongs in a `static`.
///
/// # Examples
///
/// ```
/// use crate::abstractions::device_attribute::{AttributeGroups, WriteOnlyAttribute};
/// use kernel::str::BStr;
///
/// struct Greet;
///
/// impl WriteOnlyAttribute for Greet {
///     const NAME: &'static CStr = c"greet";
///
///     fn store(text: &BStr) -> Result {
///         pr_info!("Hello, {}\n", text);
///         Ok(())
///     }
/// }
///
/// static GROUPS: AttributeGroups = AttributeGroups::new::<Greet>(&GROUPS);
/// ```
///
/// # Invariants
///
/// `groups` is a null-terminated list of `group`, which has a null-terminated list of `attribute`,
/// all three in the same static.
pub(crate) struct AttributeGroups {
    attribute: bindings::device_attribute,
    attributes: [*const bindings::attribute; 2],
    group: bindings::attribute_group,
    groups: [*const bindings::attribute_group; 2],
}

// SAFETY: Nothing in it ever changes.
unsafe impl Sync for AttributeGroups {}

impl AttributeGroups {
    /// Creates the tables for `T`. `this` is the static that holds them.
    pub(crate) const fn new<T: WriteOnlyAttribute>(this: &'static Self) -> Self {
        let mut attribute: bindings::device_attribute = pin_init::zeroed();
        attribute.attr.name = as_char_ptr_in_const_context(T::NAME);
        attribute.attr.mode = 0o200;
        attribute.__bindgen_anon_2.store = Some(store::<T>);
        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.__bindgen_anon_2.attrs_const = (&raw const this.attributes).cast();
        // INVARIANT: All pointers are to fields of `this`.
        Self {
            attribute,
            attributes: [&raw const this.attribute.attr, ptr::null()],
            group,
            groups: [&raw const this.group, ptr::null()],
        }
    }

    /// Returns the list in the form that a device takes.
    pub(super) fn as_ptr(&'static self) -> *mut *const bindings::attribute_group {
        (&raw const self.groups).cast_mut().cast()
    }
}

/// # Safety
///
/// Called by sysfs, for an attribute of [`AttributeGroups`].
unsafe extern "C" fn store<T: WriteOnlyAttribute>(
    _device: *mut bindings::device,
    _attribute: *mut bindings::device_attribute,
    text: *const c_char,
    length: usize,
) -> isize {
    // SAFETY: sysfs passes `length` bytes, at most a page.
    let text = unsafe { slice::from_raw_parts(text.cast::<u8>(), length) };
    match T::store(BStr::from_bytes(text)) {
        // At most a page.
        Ok(()) => length as isize,
        Err(error) => error.to_errno() as isize,
    }
}
