// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Code that is shared by the programs that watch a machine: init and the tests inside, the runner
//! outside.

mod patience;
mod warnings;

pub use patience::{LOOK, Patience};
pub use warnings::{Warnings, is_warning};
