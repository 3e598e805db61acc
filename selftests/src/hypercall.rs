// SPDX-License-Identifier: GPL-2.0

//! Ids of ACRN's hypercalls, as they appear in the trace, and their names.

pub use acrn_hypercall_abi::{id::*, name};
