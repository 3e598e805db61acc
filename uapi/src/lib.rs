// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

//! What a program in the Service VM and the ACRN HSM driver say to each other through `/dev/acrn_hsm`:
//! the structures and constants of `acrn.h`, and the [`ioctl`] numbers.
//!
//! The structures and constants are made of the C header by bindgen (`regenerate.sh`), have the C header's
//! names, and are to be read with it at hand. `acrn-ioctls` puts safe methods on top.
#![no_std]

// Generated. Its unsafe blocks are the `Default` of structures with a union inside: zeroed memory, which is a
// value of every field there is.
#[allow(missing_docs, non_camel_case_types, non_snake_case)]
#[allow(rustdoc::broken_intra_doc_links)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
#[rustfmt::skip]
mod bindings;
pub mod ioctl;
mod layout;

pub use bindings::*;
