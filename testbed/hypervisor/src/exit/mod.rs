// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Exit handlers, one file per exit that mini-ACRN handles.

pub mod action;
pub mod apic;
pub mod cpuid;
pub mod ioio;
pub mod mmio;
pub mod msr;
pub mod npf;
pub mod service;
pub mod string_io;
pub mod user;
