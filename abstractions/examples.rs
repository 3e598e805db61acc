// SPDX-License-Identifier: GPL-2.0

//! The examples in the documentation of this directory, as a KUnit suite.
//!
//! rustdoc cannot compile them: they use private items of a module of the kernel. `examples.awk`
//! collects them.

#![allow(dead_code)]

use kernel::macros::kunit_tests;

include!(concat!(env!("ACRN_HSM_OBJ"), "/examples_generated.rs"));
