// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The results of hypercalls that a test has scripted.

use mini_acrn_logic::script::Script;
use spin::Mutex;

/// The script.
pub static SCRIPT: Mutex<Script> = Mutex::new(Script::new());
