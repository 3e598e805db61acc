// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

//! Assertions on the layout of the structures.
//!
//! bindgen compares its output with the C header. This compares both with the numbers that the
//! hypervisor and existing programs use.

use core::mem::{align_of, offset_of, size_of};

use crate::bindings::*;

include!("layouts.rs");

macro_rules! assert_layouts {
    ($(
        $type:ty: $size:literal / $align:literal { $($field:ident @ $offset:literal),* $(,)? }
    )*) => {
        const _: () = {
            $(
                assert!(size_of::<$type>() == $size, concat!("size of ", stringify!($type)));
                assert!(align_of::<$type>() == $align, concat!("alignment of ", stringify!($type)));
                $(assert!(
                    offset_of!($type, $field) == $offset,
                    concat!("offset of ", stringify!($type), ".", stringify!($field)),
                );)*
            )*
        };
    };
}

for_each_layout!(assert_layouts);
