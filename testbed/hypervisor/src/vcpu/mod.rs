// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A User VM's vCPU.

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

/// Signals to a vCPU.
const NMI: u32 = 1 << 1;
const INIT: u32 = 1 << 2;
const SIPI: u32 = 1 << 3;
const SIPI_PAGE_SHIFT: u32 = 8;
/// All User VMs' address spaces have the same id: a CPU runs one at a time and flushes its TLB at entry.
const ASID: u32 = 2;
/// Processor signature in EDX after reset (APM vol. 2, 14.1.3); what QEMU has.
const RESET_EDX: u64 = 0x60FB1;

/// The MSR permission map of User VMs.
static MSR_MAP: Map = Map::user();

/// The I/O permission map of User VMs: every port stops the guest.
#[repr(C, align(4096))]
struct AllPorts([u8; 3 * 4096]);
static ALL_PORTS: AllPorts = AllPorts([0xFF; 3 * 4096]);

/// What a vCPU of a paused VM waited for when the VM was paused: that wakes it still, as on ACRN.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockedOn {
    /// It ran, or waits for what does not come.
    Nothing = 1,
    /// The answer to its I/O request.
    IoRequest,
    /// An interrupt: it executed HLT.
    Interrupt,
}

/// A vCPU.
pub struct Vcpu {
    cpu: AtomicU8,
    context: Mutex<Context>,
    /// A CPU runs it, or is told to; cleared by that CPU.
    active: AtomicBool,
    stop: AtomicBool,
    /// The VM is paused, and nothing has woken this vCPU since.
    pause: AtomicBool,
    /// It stands still because of that: a [`BlockedOn`], or 0.
    blocked: AtomicU8,
    /// What has woken it since the VM was paused: a [`BlockedOn`], or 0.
    woken: AtomicU8,
    /// Waits for a start-up IPI.
    waits_for_sipi: AtomicBool,
    signals: AtomicU32,
    /// NOTIFY_REQUEST_FINISH came. Latched: also if no request is under way.
    notified: AtomicBool,
    /// TSC ticks that it slept since its last exit.
    slept: AtomicU64,
    /// APIC registers that are not the real ones.
    pub apic: Mutex<Shadow>,
}

impl Vcpu {
    /// Of no VM.
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

    /// Puts the vCPU on a CPU.
    pub fn set_cpu(&self, cpu: usize) {
        self.cpu.store(cpu as u8, Ordering::Release);
    }

    /// Its CPU.
    pub fn cpu(&self) -> usize {
        usize::from(self.cpu.load(Ordering::Acquire))
    }

    /// Its APIC id: the LAPIC id of its CPU.
    pub fn apic_id(&self) -> u8 {
        cpu::lapic_id(self.cpu())
    }

    /// Whether a CPU runs it.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Whether it takes interrupts.
    pub fn is_running(&self) -> bool {
        self.is_active() && !self.waits_for_sipi.load(Ordering::Acquire)
    }

    fn context(&self) -> MutexGuard<'_, Context> {
        assert!(!self.is_active(), "the vCPU runs");
        self.context.lock()
    }

    /// Power-on state. The vCPU must not run.
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

    /// Takes registers from SET_VCPU_REGS. The vCPU must not run.
    pub fn set_regs(&self, regs: &acrn_regs) {
        let cx = &mut *self.context();
        let mut gprs = Gprs::default();
        vcpu_state::from_regs(regs, &mut cx.vmcb.save, &mut gprs);
        *cx.gprs() = gprs;
    }

    /// Has its CPU run it. vCPUs but the first wait for a start-up IPI.
    pub fn start(&self, vmid: u16, id: usize) {
        self.waits_for_sipi.store(id != 0, Ordering::Release);
        self.stop.store(false, Ordering::Release);
        self.active.store(true, Ordering::Release);
        cpu::assign_task(self.cpu(), 1 << 31 | u32::from(vmid) << 8 | id as u32);
    }

    /// Tells it to stand still where it is, until it is woken or stopped.
    pub fn pause(&self) {
        if self.is_active() {
            self.pause.store(true, Ordering::Release);
            self.kick();
        }
    }

    /// Whether it has to stand still.
    pub fn is_paused(&self) -> bool {
        self.pause.load(Ordering::Acquire)
    }

    /// Whether it does nothing: stands still, or no CPU runs it.
    pub fn is_quiescent(&self) -> bool {
        !self.is_active() || self.blocked.load(Ordering::Acquire) != 0
    }

    /// Sleeps on its CPU until that is kicked.
    pub fn sleep(&self) {
        let from = time::now();
        svm::sleep();
        self.slept.fetch_add(time::now() - from, Ordering::Relaxed);
    }

    /// Stands still on its CPU until it is woken or told to stop.
    fn block_while_paused(&self, wait: BlockedOn) {
        self.blocked.store(wait as u8, Ordering::Release);
        while self.is_paused() && !self.is_stopping() {
            self.sleep();
        }
        self.blocked.store(0, Ordering::Release);
    }

    /// The same in the middle of an I/O request. One that was answered before the pause waits for nothing.
    pub fn block_in_request(&self, polling: bool) {
        let waits = !polling && !self.notified.load(Ordering::Acquire);
        self.block_while_paused(if waits { BlockedOn::IoRequest } else { BlockedOn::Nothing });
    }

    /// Wakes it if it stands still and waits for that.
    pub fn wake(&self, wait: BlockedOn) {
        if self.is_paused() && self.blocked.load(Ordering::Acquire) == wait as u8 {
            self.record_wakeup(wait);
            self.pause.store(false, Ordering::Release);
            self.kick();
        }
    }

    /// Takes down that it was woken while the VM was paused.
    pub fn record_wakeup(&self, wait: BlockedOn) {
        self.woken.store(wait as u8, Ordering::Release);
    }

    /// What has woken it since the VM was paused, in words.
    pub fn woken_by(&self) -> Option<&'static str> {
        match self.woken.load(Ordering::Acquire) {
            0 => None,
            w if w == BlockedOn::IoRequest as u8 => Some("NOTIFY_REQUEST_FINISH"),
            _ => Some("an interrupt"),
        }
    }

    /// Tells it to stop, wherever it is.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.kick();
    }

    /// Has it leave the guest, or its sleep, and look at what there is.
    pub fn kick(&self) {
        if self.is_active() {
            cpu::kick(self.cpu());
        }
    }

    /// Whether it was told to stop.
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

    /// NOTIFY_REQUEST_FINISH.
    pub fn notify(&self) {
        let latched = self.notified.swap(true, Ordering::AcqRel);
        if !latched {
            self.wake(BlockedOn::IoRequest);
        }
        self.kick();
    }

    /// Takes the latched NOTIFY_REQUEST_FINISH.
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
