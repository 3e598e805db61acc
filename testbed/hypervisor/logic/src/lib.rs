// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The parts of mini-ACRN that need no hardware: tables, page tables, decoders, state machines.
//!
//! This code accesses only memory that its caller passes, so that all of it runs under `cargo test`
//! on a host.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
pub mod alu;
pub mod apic;
pub mod bzimage;
pub mod config_ports;
pub mod cpuid;
pub mod decode;
pub mod devices;
pub mod e820;
pub mod errno;
pub mod ioapic;
pub mod iotlb;
pub mod msrpm;
pub mod npt;
pub mod regs;
pub mod script;
pub mod trace;
pub mod vcpu_state;
pub mod vmcb;
pub mod walk;
