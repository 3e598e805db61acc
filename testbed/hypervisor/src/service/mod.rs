// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The Service VM: Linux on CPU 0 and on those that it starts, with everything passed through but mini-ACRN's own
//! memory.

pub mod memory;
pub mod run;
