// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The Service VM: Linux on CPU 0 and on the CPUs that it starts. Everything but mini-ACRN's memory
//! is passed through.

pub mod memory;
pub mod run;
