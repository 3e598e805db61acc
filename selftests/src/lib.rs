// SPDX-License-Identifier: GPL-2.0

//! The library of the test programs of the ACRN HSM driver.
//!
//! Each program in `src/bin` covers one area. It prints KTAP and can be run by hand in any Service
//! VM, with any driver behind `/dev/acrn_hsm`.
//!
//! The [`probe`] provides functions of mini-ACRN: the [`trace`], scripted faults, the list of VMs.
//! Tests that need it are skipped where it is missing.

pub mod cleanup;
pub mod counting_guest;
pub mod cpus;
pub mod device;
pub mod dirty;
pub mod eventfd;
pub mod fault_injection;
pub mod guest;
pub mod guest_memory;
pub mod harness;
pub mod held_hypercall;
pub mod hypercall;
pub mod interrupt_guest;
pub mod kernel_log;
pub mod kernel_threads;
pub mod leaks;
pub mod mapping_fixture;
pub mod module;
pub mod objects;
pub mod pattern;
pub mod physical;
pub mod probe;
pub mod program;
pub mod race;
pub mod region_array;
pub mod scripted_vm;
pub mod status;
pub mod trace;
pub mod tracepoints;
pub mod userfault;
pub mod waiter;
