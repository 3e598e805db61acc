// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! SVM on one CPU: enabling it, the context of a vCPU, and the world switch.

use core::cell::UnsafeCell;
use mini_acrn_logic::regs::{Gprs, RAX, RSP};
use mini_acrn_logic::vmcb::{DB, Event, Intercept1, Intercept2, Vmcb, exit};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

use crate::{account, cpu};

const VM_HSAVE_PA: u32 = 0xC001_0117;
const RFLAGS_TF: u64 = 1 << 8;
/// Bit of DR6 for a single step.
const DR6_BS: u64 = 1 << 14;

#[repr(C, align(4096))]
struct HostSave(UnsafeCell<[[u8; 4096]; cpu::MAX]>);
// SAFETY: Only the hardware reads and writes the memory, each CPU its own page.
unsafe impl Sync for HostSave {}
static HOST_SAVE: HostSave = HostSave(UnsafeCell::new([[0; 4096]; cpu::MAX]));

unsafe extern "C" {
    fn vcpu_enter(vmcb: *mut Vmcb, state: *mut GuestState);
    fn wait_for_kick();
    fn take_nmi();
}

/// Enables SVM and no-execute pages on CPU `id`, and clears the global interrupt flag for good.
pub fn enable(id: usize) {
    let page = HOST_SAVE.0.get() as u64 + id as u64 * 4096;
    // SAFETY: EFER keeps its other bits. SVME and NXE do not affect the code that runs now. The
    // host save area is a page of this CPU alone. CLGI needs SVME, which is set by then. With GIF =
    // 0 no interrupt is taken.
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

/// Sets XCR0 to its reset value, because a guest on this CPU may have changed it.
pub fn reset_extended_state() {
    if has_xsave() {
        // SAFETY: The CPU has XSAVE, and therefore CR4.OSXSAVE. mini-ACRN itself uses FXSAVE only.
        unsafe {
            Cr4::update(|f| *f |= Cr4Flags::OSXSAVE);
            XCr0::write(XCr0Flags::X87);
        }
    }
}

/// Sleeps until another CPU sends an NMI.
pub fn sleep() {
    // SAFETY: The code sets the global interrupt flag around a HLT with interrupts disabled.
    // Therefore only an NMI is taken, whose handler changes only its return address.
    unsafe { wait_for_kick() };
}

/// Takes the NMI that caused an exit.
pub fn acknowledge_nmi() {
    // SAFETY: As for `sleep`.
    unsafe { take_nmi() };
}

/// Guest state that VMRUN does not switch.
#[repr(C, align(16))]
pub struct GuestState {
    gprs: Gprs,
    fx: [u8; 512],
    /// TSC at the last entry.
    entered: u64,
    /// TSC at the last exit, 0 if there was none since [`Context::load`].
    left: u64,
}

/// The registers of a vCPU, inside and outside of the VMCB.
#[repr(C, align(4096))]
pub struct Context {
    /// The VMCB.
    pub vmcb: Vmcb,
    state: GuestState,
    /// The line of the account for the time until the next entry.
    account_line: u8,
    /// The line of the account for an exit that sets no other.
    default_line: u8,
}

impl Context {
    /// Returns a context of zeros, for [`Context::init`].
    pub const fn zeroed() -> Self {
        // SAFETY: Every field is an integer or an array of integers.
        unsafe { core::mem::zeroed() }
    }

    /// Initialises the context with the intercepts that every VM needs, and with `more`.
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

    /// Sets FPU and SSE registers to their reset values.
    pub fn reset_fpu(&mut self) {
        self.state.fx = [0; 512];
        self.state.fx[..2].copy_from_slice(&0x37Fu16.to_le_bytes());
        self.state.fx[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    }

    /// Returns the general-purpose registers.
    pub fn gprs(&mut self) -> &mut Gprs {
        &mut self.state.gprs
    }

    /// Makes the guest exit by #DB after the next instruction.
    pub fn begin_step(&mut self) {
        self.vmcb.control.intercept_exceptions |= 1 << DB;
        self.vmcb.save.rflags |= RFLAGS_TF;
    }

    /// Ends a single step after the exit.
    pub fn end_step(&mut self) {
        self.vmcb.control.intercept_exceptions &= !(1 << DB);
        self.vmcb.save.rflags &= !RFLAGS_TF;
        self.vmcb.save.dr6 &= !DR6_BS;
    }

    /// Loads the guest state that VMRUN does not load. The CPU that runs the guest calls this.
    pub fn load(&mut self) {
        let vmcb = &raw mut self.vmcb;
        // SAFETY: `vmcb` is a valid VMCB. mini-ACRN does not use the registers that VMLOAD
        // replaces: FS, GS, TR, LDTR, and the MSRs of system calls.
        unsafe { core::arch::asm!("vmload rax", in("rax") vmcb, options(nostack)) };
        self.state.left = 0;
    }

    /// Accounts the time until the next entry to `line`.
    pub fn account_to(&mut self, line: u8) {
        self.account_line = line;
    }

    /// Subtracts `ticks` from the time that the next entry accounts.
    pub fn exclude_from_account(&mut self, ticks: u64) {
        if self.state.left != 0 {
            self.state.left += ticks;
        }
    }

    /// Updates FS, GS, TR and LDTR in the VMCB.
    pub fn save_segments(&mut self) {
        let vmcb = &raw mut self.vmcb;
        // SAFETY: `vmcb` is a valid VMCB, and is borrowed mutably.
        unsafe { core::arch::asm!("vmsave rax", in("rax") vmcb, options(nostack)) };
    }

    /// Runs the guest until its next exit. The VMCB then holds the exit code.
    pub fn enter(&mut self) {
        self.vmcb.save.rax = self.state.gprs.0[RAX];
        self.vmcb.save.rsp = self.state.gprs.0[RSP];
        // The nested page tables may have changed, and two VMs on one CPU share an ASID.
        self.vmcb.control.tlb_control = 1;
        let left = self.state.left;
        // SAFETY: `self` is a complete context in memory that no guest reaches. SVM is enabled. The
        // assembly saves the registers that the ABI preserves. The guest can access only memory,
        // ports and MSRs that its nested page tables, permission maps and intercepts allow.
        unsafe { vcpu_enter(&raw mut self.vmcb, &raw mut self.state) };
        if left != 0 {
            account::add(self.account_line, self.state.entered - left);
        }
        self.account_line = self.default_line;
        crate::lapic::reevaluate_interrupts();
        self.vmcb.control.exit_code &= exit::INVALID;
        self.state.gprs.0[RAX] = self.vmcb.save.rax;
        self.state.gprs.0[RSP] = self.vmcb.save.rsp;
        // An event whose delivery the exit interrupted is delivered again.
        let cut = Event(self.vmcb.control.exit_int_info);
        let again = cut.is_valid() && !cut.is_software();
        self.vmcb.control.event_inj = if again { cut.0 } else { 0 };
    }

    /// Injects `event` at the next entry.
    pub fn inject(&mut self, event: Event) {
        self.vmcb.control.event_inj = event.0;
    }

    /// Returns whether an event is to be injected at the next entry.
    pub fn has_event(&self) -> bool {
        Event(self.vmcb.control.event_inj).is_valid()
    }

    /// Advances RIP past an instruction of `len` bytes.
    pub fn skip(&mut self, len: u64) {
        let save = &mut self.vmcb.save;
        let next = save.rip.wrapping_add(len);
        save.rip = if save.mode().bits == 64 { next } else { next & 0xFFFF_FFFF };
        self.vmcb.control.int_state &= !1;
    }
}
