// SPDX-License-Identifier: GPL-2.0

//! The kernel as a guest of ACRN: detection, and the upcall.
//!
//! C header: [`arch/x86/include/asm/acrn.h`](srctree/arch/x86/include/asm/acrn.h)

use super::bindings;
use core::{
    arch::x86_64::__cpuid,
    ptr, //
};
use kernel::{
    ffi::c_void,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        rcu,
        Arc, //
    },
};

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
pub(crate) trait Upcall: Send + Sync + 'static {
    /// Called in hard-IRQ context on vector 0xF3, after the local APIC was acknowledged, on one CPU at a
    /// time.
    ///
    /// Several upcalls may have been folded into one. May not sleep or allocate. May take a `spinlock_t`
    /// where that does not sleep: not on PREEMPT_RT.
    fn upcall(&self);
}

/// The receiver of the kernel's one handler; null while there is none.
static RECEIVER: Atomic<*mut c_void> = Atomic::new(ptr::null_mut());

/// The upcall is armed for as long as this lives.
///
/// # Invariants
///
/// The kernel's handler is the trampoline of `T`, and `RECEIVER` points to `_receiver`.
pub(crate) struct UpcallRegistration<T: Upcall> {
    _receiver: Arc<T>,
}

impl<T: Upcall> UpcallRegistration<T> {
    /// Arms the upcall. Fails with `EBUSY` if it is: the kernel has one handler.
    pub(crate) fn new(receiver: T) -> Result<Self> {
        let receiver = Arc::new(receiver, GFP_KERNEL)?;
        let address = ptr::from_ref(&*receiver).cast_mut().cast();
        RECEIVER
            .cmpxchg(ptr::null_mut(), address, ordering::Full)
            .map_err(|_| EBUSY)?;
        // SAFETY: The handler is a function of this module, and `drop` takes it away again and
        // waits for it before the module can go.
        unsafe { bindings::acrn_setup_intr_handler(Some(trampoline::<T>)) };
        // INVARIANT: Both were set above, and stay so while `RECEIVER` is not null.
        Ok(Self {
            _receiver: receiver,
        })
    }
}

impl<T: Upcall> Drop for UpcallRegistration<T> {
    fn drop(&mut self) {
        // SAFETY: No precondition; the handler is ours by the type invariant.
        unsafe { bindings::acrn_remove_intr_handler() };
        // The kernel has no grace period between removal and a handler in flight. Interrupt
        // handlers are RCU read-side critical sections.
        rcu::synchronize_rcu();
        RECEIVER.store(ptr::null_mut(), ordering::Release);
    }
}

extern "C" fn trampoline<T: Upcall>() {
    // SAFETY: This is hard-IRQ context.
    #[cfg(not(CONFIG_PREEMPT_RT))]
    unsafe {
        bindings::hsm_lockdep_hardirq_threaded()
    };
    let receiver = RECEIVER.load(ordering::Acquire).cast::<T>();
    // SAFETY: This is the kernel's handler only while a registration of `T` lives, which keeps the receiver,
    // and waits for handlers in flight before it lets go of it.
    unsafe { &*receiver }.upcall();
}
