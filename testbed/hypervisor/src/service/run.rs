// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The loop in which a CPU runs the Service VM.

use super::memory;
use crate::exit::service;
use crate::handoff::{self, Command};
use crate::svm::{self, Context};
use crate::{cpu, lapic, log, panic};
use core::sync::atomic::{AtomicU64, Ordering};
use mini_acrn_channel::ACCOUNT_SERVICE;
use mini_acrn_logic::msrpm::Map;
use mini_acrn_logic::regs::RSI;
use mini_acrn_logic::vmcb::{
    CR0_ET, CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_LME, EFER_NXE, EFER_SVME, Intercept1,
    Intercept2, Segment,
};
use spin::Mutex;

const ASID: u32 = 1;
/// The MSR permission map.
static MSR_MAP: Map = Map::service();

static CONTEXTS: [Mutex<Context>; cpu::MAX] = [const { Mutex::new(Context::zeroed()) }; cpu::MAX];
/// Entry point of the kernel, 0 until it is loaded.
static ENTRY: AtomicU64 = AtomicU64::new(0);

/// Sets the start state: long mode at `rip`, with the first 4 GiB mapped one to one.
fn start_state(cx: &mut Context, rip: u64) {
    let more = Intercept1::NMI;
    cx.init(more, ASID, memory::root(), (&raw const MSR_MAP) as u64, 0, ACCOUNT_SERVICE);
    cx.vmcb.control.intercept2 |= Intercept2::VMMCALL.bits();
    cx.vmcb.control.intercept2 &= !(Intercept2::MONITOR | Intercept2::MWAIT).bits();
    let save = &mut cx.vmcb.save;
    save.reset(Segment { selector: 0x10, attributes: 0xA9B, limit: u32::MAX, base: 0 }, rip);
    let data = Segment { selector: 0x18, attributes: 0xC93, limit: u32::MAX, base: 0 };
    (save.ds, save.es, save.ss) = (data, data, data);
    (save.gdtr.base, save.gdtr.limit) = handoff::gdt();
    save.cr0 = CR0_PG | CR0_PE | CR0_ET;
    save.cr4 = CR4_PAE;
    save.cr3 = handoff::page_tables();
    // The code of Linux for secondary CPUs switches to page tables with no-execute bits at once.
    save.efer = EFER_SVME | EFER_LMA | EFER_LME | EFER_NXE;
}

/// Makes CPU 0 enter the kernel at `entry`. Called once.
pub fn boot(entry: u64) {
    ENTRY.store(entry, Ordering::Release);
    cpu::kick(0);
}

/// Runs the Service VM's first CPU as soon as the kernel is loaded.
pub fn boot_cpu() -> ! {
    let entry = loop {
        match ENTRY.load(Ordering::Acquire) {
            0 => svm::sleep(),
            entry => break entry,
        }
    };
    // The kick may still be pending, and the guest has no NMI handler yet.
    svm::acknowledge_nmi();
    let mut cx = CONTEXTS[0].lock();
    start_state(&mut cx, entry);
    cx.gprs().0[RSI] = handoff::zero_page();
    log!("Service VM starts at {entry:#x}");
    run(&mut cx, 0);
    log!("Service VM halted");
    panic::power_off()
}

/// Runs CPU `id` of the Service VM each time that the Service VM starts it. Returns when the
/// Service VM has given the CPU up.
pub fn secondary_cpu(id: usize) {
    let mut cx = CONTEXTS[id].lock();
    loop {
        if cpu::is_removed(id) {
            return;
        }
        let command = {
            let _mailbox = handoff::MAILBOX_LOCK.lock();
            handoff::mailbox_take(id)
        };
        match command {
            Some(Command::Wake(vector)) => {
                // No kick is sent from here on, but an earlier one may still be pending. It must
                // not arrive while the guest runs, because the guest has no NMI handler yet.
                cpu::set_runs_service(id, true);
                svm::acknowledge_nmi();
                start_state(&mut cx, vector);
                run(&mut cx, id);
                cpu::set_runs_service(id, false);
                lapic::quiesce();
            }
            Some(Command::Test) => {}
            None => svm::sleep(),
        }
    }
}

/// Runs the guest until the CPU parks itself or is taken from the Service VM.
fn run(cx: &mut Context, id: usize) {
    cx.load();
    loop {
        cx.enter();
        if !service::handle(cx, id) {
            return;
        }
    }
}
