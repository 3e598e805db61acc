// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! mini-ACRN: a bare-metal hypervisor with ACRN's guest ABI, for AMD SVM with nested paging as QEMU's TCG
//! emulates it. It runs Linux as the Service VM on CPU 0 and those that Linux starts, with all devices passed through,
//! and User VMs on the other CPUs, one CPU a vCPU.
//!
//! All Rust code runs with interrupts and the global interrupt flag off; a CPU that waits sleeps until
//! another one sends it an NMI. So no lock is ever taken in an interrupt.
#![no_std]
#![no_main]

extern crate alloc;

mod account;
mod boot;
mod console;
mod cpu;
mod exit;
mod frames;
mod handoff;
mod hypercall;
mod idt;
mod interrupt;
mod ioreq;
mod lapic;
mod multiboot;
mod panic;
mod phys;
mod request_page;
mod rule;
mod service;
mod shadow_apic;
mod slot_trap;
mod smpboot;
mod svm;
mod time;
mod trace;
mod user_memory;
mod vcpu;
mod vm;

core::arch::global_asm!(include_str!("boot.s"), options(att_syntax));
core::arch::global_asm!(include_str!("interrupt.s"), options(att_syntax));
core::arch::global_asm!(include_str!("mem.s"), options(att_syntax));
core::arch::global_asm!(include_str!("enter.s"), options(att_syntax));
