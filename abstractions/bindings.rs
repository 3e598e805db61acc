// SPDX-License-Identifier: GPL-2.0

//! Bindings generated from `bindings_helper.h`, for what `kernel::bindings` lacks.
//!
//! Not to be used outside of this directory.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

use kernel::ffi;

include!(concat!(env!("ACRN_HSM_OBJ"), "/bindings_generated.rs"));

/// Bindings of the kernel's own `<linux/acrn.h>`.
pub(super) mod linux {
    use kernel::ffi;

    include!(concat!(env!("ACRN_HSM_OBJ"), "/kernel_uapi_generated.rs"));
}
