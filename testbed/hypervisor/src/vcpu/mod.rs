// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The vCPUs of User VMs.

pub mod run;

use crate::shadow_apic::Shadow;
use crate::svm::{self, Context};
use crate::{cpu, time};
use acrn_uapi::acrn_regs;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use mini_acrn_channel::ACCOUNT_USER;
use mini_acrn_logic::msrpm::Map;
use mini_acrn_logic::regs::{Gprs, RDX};
use mini_acrn_logic::vcpu_state;
use mini_acrn_logic::vmcb::{Event, Intercept1};
use spin::{Mutex, MutexGuard};

/// Signals to a vCPU, in `Vcpu::signals`.
const NMI: u32 = 1 << 1;
const INIT: u32 = 1 << 2;
const SIPI: u32 = 1 << 3;
const SIPI_PAGE_SHIFT: u32 = 8;
/// The address space id (ASID) of all User VMs. One is enough, because a CPU runs one User VM at a
/// time and flushes its TLB at each entry.
const ASID: u32 = 2;
/// Processor signature in EDX after reset (APM vol. 2, 14.1.3). The value is QEMU's.
const RESET_EDX: u64 = 0x60FB1;

/// The MSR permission map of User VMs.
static MSR_MAP: Map = Map::user();

/// The I/O permission map of User VMs: every port access exits.
#[repr(C, align(4096))]
struct AllPorts([u8; 3 * 4096]);
static ALL_PORTS: AllPorts = AllPorts([0xFF; 3 * 4096]);

/// The event for which a vCPU of a paused VM waits. The event still wakes the vCPU, as on ACRN.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockedOn {
    /// None: it was running, or waits for an event that cannot wake it.
    Nothing = 1,
    /// The completion of its I/O request.
    IoRequest,
    /// An interrupt, because it executed HLT.
    Interrupt,
}

/// A vCPU.
pub struct Vcpu {
    cpu: AtomicU8,
    context: Mutex<Context>,
    /// A CPU runs the vCPU, or was told to run it. That CPU clears the flag.
    active: AtomicBool,
    stop: AtomicBool,
    /// The VM is paused, and no event has woken the vCPU since.
    pause: AtomicBool,
    /// The event for which the vCPU is blocked because of `pause`: a [`BlockedOn`], or 0 if it is
    /// not blocked.
    blocked: AtomicU8,
    /// The event that has woken the vCPU since the VM was paused: a [`BlockedOn`], or 0.
    woken: AtomicU8,
    /// The vCPU waits for a start-up IPI.
    waits_for_sipi: AtomicBool,
    signals: AtomicU32,
    /// NOTIFY_REQUEST_FINISH arrived. The flag is latched, even if no request is pending.
    notified: AtomicBool,
    /// TSC ticks that the vCPU slept since its last exit.
    slept: AtomicU64,
    /// The shadowed registers of the local APIC.
    pub apic: Mutex<Shadow>,
}

impl Vcpu {
    /// Creates a vCPU that belongs to no VM.
    pub const fn new() -> Self {
        Self {
            cpu: AtomicU8::new(0),
            context: Mutex::new(Context::zeroed()),
            active: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            pause: AtomicBool::new(false),
            blocked: AtomicU8::new(0),
            woken: AtomicU8::new(0),
            waits_for_sipi: AtomicBool::new(false),
            signals: AtomicU32::new(0),
            notified: AtomicBool::new(false),
            slept: AtomicU64::new(0),
            apic: Mutex::new(Shadow::RESET),
        }
    }

    /// Sets the CPU that runs the vCPU.
    pub fn set_cpu(&self, cpu: usize) {
        self.cpu.store(cpu as u8, Ordering::Release);
    }

    /// Returns the CPU that runs the vCPU.
    pub fn cpu(&self) -> usize {
        usize::from(self.cpu.load(Ordering::Acquire))
    }

    /// Returns the APIC id, which is the LAPIC id of the CPU.
    pub fn apic_id(&self) -> u8 {
        cpu::lapic_id(self.cpu())
    }

    /// Returns whether a CPU runs the vCPU.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Returns whether the vCPU takes interrupts.
    pub fn is_running(&self) -> bool {
        self.is_active() && !self.waits_for_sipi.load(Ordering::Acquire)
    }

    fn context(&self) -> MutexGuard<'_, Context> {
        assert!(!self.is_active(), "the vCPU runs");
        self.context.lock()
    }

    /// Resets the vCPU to its power-on state. The vCPU must not run.
    pub fn reset(&self, nested_root: u64) {
        let mut cx = self.context();
        cx.init(
            Intercept1::NMI | Intercept1::IOIO,
            ASID,
            nested_root,
            (&raw const MSR_MAP) as u64,
            (&raw const ALL_PORTS.0) as u64,
            ACCOUNT_USER,
        );
        power_on(&mut cx);
        for flag in [&self.stop, &self.pause, &self.waits_for_sipi, &self.notified] {
            flag.store(false, Ordering::Release);
        }
        self.woken.store(0, Ordering::Release);
        self.signals.store(0, Ordering::Release);
        *self.apic.lock() = Shadow::RESET;
    }

    /// Sets the registers as SET_VCPU_REGS requests. The vCPU must not run.
    pub fn set_regs(&self, regs: &acrn_regs) {
        let cx = &mut *self.context();
        let mut gprs = Gprs::default();
        vcpu_state::from_regs(regs, &mut cx.vmcb.save, &mut gprs);
        *cx.gprs() = gprs;
    }

    /// Starts the vCPU on its CPU. Each vCPU but the first waits for a start-up IPI.
    pub fn start(&self, vmid: u16, id: usize) {
        self.waits_for_sipi.store(id != 0, Ordering::Release);
        self.stop.store(false, Ordering::Release);
        self.active.store(true, Ordering::Release);
        cpu::assign_task(self.cpu(), 1 << 31 | u32::from(vmid) << 8 | id as u32);
    }

    /// Tells the vCPU to block at its next exit until it is woken or stopped.
    pub fn pause(&self) {
        if self.is_active() {
            self.pause.store(true, Ordering::Release);
            self.kick();
        }
    }

    /// Returns whether the vCPU has to block.
    pub fn is_paused(&self) -> bool {
        self.pause.load(Ordering::Acquire)
    }

    /// Returns whether the vCPU is blocked or not run by a CPU.
    pub fn is_quiescent(&self) -> bool {
        !self.is_active() || self.blocked.load(Ordering::Acquire) != 0
    }

    /// Sleeps until the CPU is kicked. The CPU of the vCPU calls this.
    pub fn sleep(&self) {
        let from = time::now();
        svm::sleep();
        self.slept.fetch_add(time::now() - from, Ordering::Relaxed);
    }

    /// Blocks until the vCPU is woken or told to stop. The CPU of the vCPU calls this.
    fn block_while_paused(&self, wait: BlockedOn) {
        self.blocked.store(wait as u8, Ordering::Release);
        while self.is_paused() && !self.is_stopping() {
            self.sleep();
        }
        self.blocked.store(0, Ordering::Release);
    }

    /// Blocks in the middle of an I/O request. The vCPU waits for its completion unless the request
    /// was completed before the pause.
    pub fn block_in_request(&self, polling: bool) {
        let waits = !polling && !self.notified.load(Ordering::Acquire);
        self.block_while_paused(if waits { BlockedOn::IoRequest } else { BlockedOn::Nothing });
    }

    /// Wakes the vCPU if it is blocked on `wait`.
    pub fn wake(&self, wait: BlockedOn) {
        if self.is_paused() && self.blocked.load(Ordering::Acquire) == wait as u8 {
            self.record_wakeup(wait);
            self.pause.store(false, Ordering::Release);
            self.kick();
        }
    }

    /// Records that `wait` has woken the vCPU while the VM was paused.
    pub fn record_wakeup(&self, wait: BlockedOn) {
        self.woken.store(wait as u8, Ordering::Release);
    }

    /// Returns the name of the event that has woken the vCPU since the VM was paused.
    pub fn woken_by(&self) -> Option<&'static str> {
        match self.woken.load(Ordering::Acquire) {
            0 => None,
            w if w == BlockedOn::IoRequest as u8 => Some("NOTIFY_REQUEST_FINISH"),
            _ => Some("an interrupt"),
        }
    }

    /// Tells the vCPU to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.kick();
    }

    /// Makes the vCPU leave the guest, or its sleep, and check its flags.
    pub fn kick(&self) {
        if self.is_active() {
            cpu::kick(self.cpu());
        }
    }

    /// Returns whether the vCPU was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn signal(&self, bits: u32) {
        self.signals.fetch_or(bits, Ordering::AcqRel);
        self.kick();
    }

    /// Sends an NMI.
    pub fn send_nmi(&self) {
        self.signal(NMI);
    }

    /// Sends INIT.
    pub fn send_init(&self) {
        self.signal(INIT);
    }

    /// Sends a start-up IPI.
    pub fn send_startup(&self, page: u8) {
        self.signal(SIPI | u32::from(page) << SIPI_PAGE_SHIFT);
    }

    /// Latches NOTIFY_REQUEST_FINISH and wakes the vCPU.
    pub fn notify(&self) {
        let latched = self.notified.swap(true, Ordering::AcqRel);
        if !latched {
            self.wake(BlockedOn::IoRequest);
        }
        self.kick();
    }

    /// Takes the latched NOTIFY_REQUEST_FINISH. Returns whether there was one.
    pub fn take_notification(&self) -> bool {
        self.notified.swap(false, Ordering::AcqRel)
    }
}

fn power_on(cx: &mut Context) {
    vcpu_state::power_on(&mut cx.vmcb.save);
    *cx.gprs() = Gprs::default();
    cx.gprs().0[RDX] = RESET_EDX;
    cx.reset_fpu();
    cx.inject(Event::NONE);
}
