// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Code that is shared by the programs that watch a machine: init and the tests inside, the runner
//! outside.

mod complaints;
mod patience;

pub use complaints::{Complaints, is_complaint};
pub use patience::{LOOK, Patience};
