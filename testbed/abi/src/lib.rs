// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! ACRN's hypercalls: their ids and parameter structures.
//!
//! A VM makes a hypercall by `vmcall`: R8 holds the id, RDI and RSI the parameters, and RAX returns
//! the result, 0 or a negative errno. A structure is passed by its guest-physical address. All
//! structures are little-endian. The source is `hypervisor/include/public/acrn_hv_defs.h` of ACRN
//! v3.3.
//!
//! Structures that user space passes as well are those of `acrn-uapi`. This crate defines only the
//! others.
#![no_std]

mod hypercall;
mod parameter;

pub use hypercall::*;
pub use parameter::*;
