// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The results that a test scripts.

use mini_acrn_logic::script::Script;
use spin::Mutex;

/// The script.
pub static SCRIPT: Mutex<Script> = Mutex::new(Script::new());
