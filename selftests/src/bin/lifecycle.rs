// SPDX-License-Identifier: GPL-2.0

//! Lifecycle of a User VM: what is allowed when, and what is left when it ends.

use std::process::ExitCode;

use acrn_selftests::harness;

fn main() -> ExitCode {
    harness::main(&[])
}
