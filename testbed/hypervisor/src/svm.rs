// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! SVM on one CPU: switching it on, and a vCPU's context with its way into the guest and back.

use core::cell::UnsafeCell;
use mini_acrn_logic::regs::{Gprs, RAX, RSP};
use mini_acrn_logic::vmcb::{Event, Intercept1, Intercept2, Vmcb, exit};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

use crate::{account, cpu};

const VM_HSAVE_PA: u32 = 0xC001_0117;

#[repr(C, align(4096))]
struct HostSave(UnsafeCell<[[u8; 4096]; cpu::MAX]>);
// SAFETY: only the hardware reads and writes it, each CPU its own page.
unsafe impl Sync for HostSave {}
static HOST_SAVE: HostSave = HostSave(UnsafeCell::new([[0; 4096]; cpu::MAX]));

unsafe extern "C" {
    fn vcpu_enter(vmcb: *mut Vmcb, state: *mut GuestState);
    fn wait_for_kick();
    fn take_nmi();
}

/// Enables SVM and no-execute on CPU `id`, and closes the global interrupt flag for good.
pub fn enable(id: usize) {
    let page = HOST_SAVE.0.get() as u64 + id as u64 * 4096;
    // SAFETY: EFER keeps what it has; SVME and NXE change nothing for code that runs now. The host save area
    // is a page of this CPU's own. CLGI needs SVME, which is set by then; with GIF = 0 no interrupt comes.
    unsafe {
        Efer::update(|f| {
            *f |= EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE | EferFlags::NO_EXECUTE_ENABLE
        });
        Msr::new(VM_HSAVE_PA).write(page);
        core::arch::asm!("clgi", options(nomem, nostack));
    }
}

fn has_xsave() -> bool {
    core::arch::x86_64::__cpuid(1).ecx & 1 << 26 != 0
}

/// Sets XCR0 as after reset: a guest on this CPU may have changed it.
pub fn reset_extended_state() {
    if has_xsave() {
        // SAFETY: the CPU has XSAVE, hence CR4.OSXSAVE; mini-ACRN itself uses FXSAVE only.
        unsafe {
            Cr4::update(|f| *f |= Cr4Flags::OSXSAVE);
            XCr0::write(XCr0Flags::X87);
        }
    }
}

/// Sleeps until another CPU sends an NMI.
pub fn sleep() {
    // SAFETY: opens the global interrupt flag round a HLT with interrupts off: only an NMI comes, whose
    // handler touches nothing but its return address.
    unsafe { wait_for_kick() };
}

/// Takes the NMI that made a guest stop.
pub fn acknowledge_nmi() {
    // SAFETY: as for `sleep`.
    unsafe { take_nmi() };
}

/// What VMRUN does not switch.
#[repr(C, align(16))]
pub struct GuestState {
    gprs: Gprs,
    fx: [u8; 512],
    /// TSC at the last entry.
    entered: u64,
    /// TSC at the last exit; 0 if there was none since the vCPU was loaded.
    left: u64,
}

/// A vCPU's registers, in and out of the VMCB.
#[repr(C, align(4096))]
pub struct Context {
    /// The control block.
    pub vmcb: Vmcb,
    state: GuestState,
    /// Where the time until the next entry goes in the account.
    account_line: u8,
    /// The same of an exit of which nothing is said.
    default_line: u8,
}

impl Context {
    /// All zeros, ready for [`Context::init`].
    pub const fn zeroed() -> Self {
        // SAFETY: every field is an integer or an array of integers.
        unsafe { core::mem::zeroed() }
    }

    /// Makes it a context that intercepts what both kinds of VM need intercepted, and `more`.
    pub fn init(
        &mut self,
        more: Intercept1,
        asid: u32,
        nested_root: u64,
        msrpm: u64,
        iopm: u64,
        line: usize,
    ) {
        *self = Self::zeroed();
        self.default_line = line as u8;
        let c = &mut self.vmcb.control;
        c.intercept_exceptions = 1 << mini_acrn_logic::vmcb::UD;
        c.intercept1 = (more
            | Intercept1::CPUID
            | Intercept1::MSR
            | Intercept1::SHUTDOWN
            | Intercept1::INVLPGA)
            .bits();
        c.intercept2 = (Intercept2::SVM | Intercept2::MONITOR | Intercept2::MWAIT).bits();
        (c.asid, c.n_cr3, c.msrpm, c.iopm) = (asid, nested_root, msrpm, iopm);
        c.np_enable = 1;
        self.reset_fpu();
    }

    /// FPU and SSE as after reset.
    pub fn reset_fpu(&mut self) {
        self.state.fx = [0; 512];
        self.state.fx[..2].copy_from_slice(&0x37Fu16.to_le_bytes());
        self.state.fx[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    }

    /// General registers.
    pub fn gprs(&mut self) -> &mut Gprs {
        &mut self.state.gprs
    }

    /// Loads the part of the guest's state that VMRUN does not load, on the CPU that is to run it.
    pub fn load(&mut self) {
        let vmcb = &raw mut self.vmcb;
        // SAFETY: `vmcb` is a valid control block; what VMLOAD replaces (FS, GS, TR, LDTR, system call MSRs)
        // mini-ACRN does not use.
        unsafe { core::arch::asm!("vmload rax", in("rax") vmcb, options(nostack)) };
        self.state.left = 0;
    }

    /// The time until the next entry goes to `line` of the account.
    pub fn account_to(&mut self, line: u8) {
        self.account_line = line;
    }

    /// That many ticks of it go nowhere.
    pub fn exclude_from_account(&mut self, ticks: u64) {
        if self.state.left != 0 {
            self.state.left += ticks;
        }
    }

    /// Brings FS, GS, TR and LDTR in the control block up to date.
    pub fn save_segments(&mut self) {
        let vmcb = &raw mut self.vmcb;
        // SAFETY: `vmcb` is a valid control block, borrowed mutably.
        unsafe { core::arch::asm!("vmsave rax", in("rax") vmcb, options(nostack)) };
    }

    /// Runs the guest until it stops; the reason is in the control block.
    pub fn enter(&mut self) {
        self.vmcb.save.rax = self.state.gprs.0[RAX];
        self.vmcb.save.rsp = self.state.gprs.0[RSP];
        // Nested page tables may have changed, and ASIDs of two VMs on one CPU are the same.
        self.vmcb.control.tlb_control = 1;
        let left = self.state.left;
        // SAFETY: `self` is a complete context in memory that no guest reaches; SVM is on; the assembly saves
        // what the ABI wants saved. The guest can touch only what its nested page tables, permission maps and
        // intercepts leave to it.
        unsafe { vcpu_enter(&raw mut self.vmcb, &raw mut self.state) };
        if left != 0 {
            account::add(self.account_line, self.state.entered - left);
        }
        self.account_line = self.default_line;
        crate::lapic::reevaluate_interrupts();
        self.vmcb.control.exit_code &= exit::INVALID;
        self.state.gprs.0[RAX] = self.vmcb.save.rax;
        self.state.gprs.0[RSP] = self.vmcb.save.rsp;
        // An event whose delivery was cut short is delivered again.
        let cut = Event(self.vmcb.control.exit_int_info);
        let again = cut.is_valid() && !cut.is_software();
        self.vmcb.control.event_inj = if again { cut.0 } else { 0 };
    }

    /// Has `event` delivered at the next entry.
    pub fn inject(&mut self, event: Event) {
        self.vmcb.control.event_inj = event.0;
    }

    /// Whether an event waits for the next entry.
    pub fn has_event(&self) -> bool {
        Event(self.vmcb.control.event_inj).is_valid()
    }

    /// Goes past an instruction of `len` bytes.
    pub fn skip(&mut self, len: u64) {
        let save = &mut self.vmcb.save;
        let next = save.rip.wrapping_add(len);
        save.rip = if save.mode().bits == 64 { next } else { next & 0xFFFF_FFFF };
        self.vmcb.control.int_state &= !1;
    }
}
