// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! What the programs that watch a machine have in common: init and the tests in it, the runner outside.

mod complaints;
mod patience;

pub use complaints::{Complaints, is_complaint};
pub use patience::{LOOK, Patience};
