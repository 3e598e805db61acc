// SPDX-License-Identifier: GPL-2.0

//! What the test programs of the ACRN HSM driver share. Each program in `src/bin` is one area; it prints
//! KTAP and can be run by hand in any Service VM, with any driver behind `/dev/acrn_hsm`.
//!
//! What only mini-ACRN can tell or do (the [`trace`], scripted faults, the list of VMs) goes through the
//! [`probe`]; where that is missing, the tests that need it are skipped.

pub mod area;
pub mod bench;
pub mod contest;
pub mod counter;
pub mod cpus;
pub mod device;
pub mod dirty;
pub mod event;
pub mod events;
pub mod failing;
pub mod guest;
pub mod harness;
pub mod held;
pub mod hypercall;
pub mod kernel_log;
pub mod leaks;
pub mod listener;
pub mod manners;
pub mod missing;
pub mod module;
pub mod objects;
pub mod pattern;
pub mod physical;
pub mod probe;
pub mod program;
pub mod scripted;
pub mod status;
pub mod trace;
pub mod waiter;
