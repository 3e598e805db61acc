// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! mini-ACRN: a bare-metal hypervisor with ACRN's guest ABI.
//!
//! It needs AMD SVM with nested paging, which QEMU's TCG emulates. It runs Linux as the Service VM,
//! with all devices passed through, on CPU 0 and on the CPUs that Linux starts. It runs User VMs on
//! the other CPUs, one vCPU per CPU.
//!
//! All Rust code runs with interrupts disabled and the global interrupt flag (GIF) clear. A CPU
//! that waits sleeps until another CPU sends it an NMI. Therefore no interrupt handler ever takes a
//! lock.
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
mod slow_sender;
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
