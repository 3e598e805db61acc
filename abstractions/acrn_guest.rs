// SPDX-License-Identifier: GPL-2.0

//! The kernel as a guest of ACRN: detection, and the upcall.
//!
//! C header: [`arch/x86/include/asm/acrn.h`](srctree/arch/x86/include/asm/acrn.h)

use super::bindings;
use core::arch::x86_64::__cpuid;
use kernel::sync::rcu;

/// Leaf with ACRN's feature bits in EAX (`ACRN_CPUID_FEATURES`).
const CPUID_FEATURES: u32 = 0x4000_0001;
/// EAX bit 0: this VM may manage others, it is the Service VM.
const FEATURE_PRIVILEGED_VM: u32 = 1 << 0;

/// What the kernel runs on, as far as an HSM is concerned.
pub(crate) enum Platform {
    /// Not on ACRN.
    Other,
    /// A VM on ACRN that may not manage others.
    UserVm,
    /// ACRN's Service VM.
    ServiceVm,
}

impl Platform {
    /// Looks at the hypervisor that the kernel found at boot.
    pub(crate) fn detect() -> Self {
        // SAFETY: The kernel writes `x86_hyper_type` during early boot only.
        let hypervisor = unsafe { bindings::x86_hyper_type };
        if hypervisor != bindings::x86_hypervisor_type_X86_HYPER_ACRN {
            return Self::Other;
        }
        if __cpuid(CPUID_FEATURES).eax & FEATURE_PRIVILEGED_VM == 0 {
            return Self::UserVm;
        }
        Self::ServiceVm
    }
}

/// Receiver of the upcall, the interrupt by which ACRN tells the Service VM that there is work.
pub(crate) trait Upcall {
    /// Called in hard-IRQ context on vector 0xF3, after the local APIC was acknowledged.
    ///
    /// Several upcalls may have been folded into one. May not sleep or allocate. May take a
    /// `spinlock_t`: the module is not for PREEMPT_RT, where that sleeps.
    fn upcall();
}

/// The upcall is armed for as long as this lives.
///
/// # Invariants
///
/// The kernel's handler is a trampoline of this module while a value exists.
pub(crate) struct UpcallRegistration(());

impl UpcallRegistration {
    /// Arms the upcall. The kernel has one handler; a later registration replaces an earlier one.
    pub(crate) fn new<T: Upcall>() -> Self {
        // SAFETY: The handler is a function of this module, and `drop` takes it away again and
        // waits for it before the module can go.
        unsafe { bindings::acrn_setup_intr_handler(Some(trampoline::<T>)) };
        // INVARIANT: Armed by the call above.
        Self(())
    }
}

impl Drop for UpcallRegistration {
    fn drop(&mut self) {
        // SAFETY: No precondition; the handler is ours by the type invariant.
        unsafe { bindings::acrn_remove_intr_handler() };
        // The kernel has no grace period between removal and a handler in flight. Interrupt
        // handlers are RCU read-side critical sections.
        rcu::synchronize_rcu();
    }
}

extern "C" fn trampoline<T: Upcall>() {
    // SAFETY: This is hard-IRQ context.
    unsafe { bindings::hsm_lockdep_hardirq_threaded() };
    T::upcall();
}
