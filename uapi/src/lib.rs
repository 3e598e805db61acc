// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

//! The interface between user space and the ACRN HSM driver, `/dev/acrn_hsm`: the structures and
//! constants of `acrn.h`, and the [`ioctl`] numbers.
//!
//! bindgen generates the structures and constants from the C header (`regenerate.sh`). They have
//! the names of the C header, which documents them. The crate `acrn-ioctls` has safe methods.
#![no_std]

// Generated. Its unsafe blocks implement `Default` for structures with a union: they return zeroed
// memory, which is a valid value of every field.
#[allow(missing_docs, non_camel_case_types, non_snake_case)]
#[allow(rustdoc::broken_intra_doc_links)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
#[rustfmt::skip]
mod bindings;
pub mod ioctl;
mod layout;

pub use bindings::*;
