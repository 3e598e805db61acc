// SPDX-License-Identifier: GPL-2.0

//! The kernel as a guest of ACRN: detection of the hypervisor, and the upcall.
//!
//! The kernel crate has no abstraction for guests of a hypervisor. [`kernel::irq`] is for interrupt
//! lines; the upcall has a vector of its own with one handler.
//!
//! C header: [`arch/x86/include/asm/acrn.h`](srctree/arch/x86/include/asm/acrn.h)

use super::bindings;
use core::{
    arch::x86_64::__cpuid,
    ptr, //
};
use kernel::{
    ffi::c_void,
    interrupt::LocalInterruptDisabled,
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

/// CPUID leaf with ACRN's feature bits in EAX (`ACRN_CPUID_FEATURES`).
const CPUID_FEATURES: u32 = 0x4000_0001;
/// EAX bit 0: this VM may manage other VMs (`ACRN_FEATURE_PRIVILEGED_VM`).
const FEATURE_PRIVILEGED_VM: u32 = 1 << 0;

/// The environment in which the kernel runs.
///
/// # Examples
///
/// ```
/// use crate::abstractions::acrn_guest::Platform;
///
/// match Platform::detect() {
///     Platform::ServiceVm => Ok(()),
///     Platform::UserVm => Err(EPERM),
///     Platform::Other => Err(ENODEV),
/// }?;
/// ```
pub(crate) enum Platform {
    /// Not on ACRN.
    Other,
    /// A VM on ACRN that may not manage other VMs.
    UserVm,
    /// ACRN's Service VM.
    ServiceVm,
}

impl Platform {
    /// Returns the platform that the kernel detected at boot.
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

/// The handler of the upcall, the interrupt by which ACRN reports new I/O requests.
pub(crate) trait Upcall: Send + Sync + 'static {
    /// Handles an upcall.
    ///
    /// One call may stand for several upcalls.
    ///
    /// # Context
    ///
    /// Hard-IRQ context on vector 0xF3, on one CPU at a time, after the local APIC was
    /// acknowledged. May not sleep or allocate memory. May take a `spinlock_t` unless the kernel
    /// is PREEMPT_RT.
    fn upcall(&self, irq: &LocalInterruptDisabled);
}

/// The receiver of this module's only handler, or null if there is none.
static RECEIVER: Atomic<*mut c_void> = Atomic::new(ptr::null_mut());

/// A registration of an upcall handler. Dropping it unregisters the handler.
///
/// # Examples
///
/// ```no_run
/// use crate::abstractions::acrn_guest::{Upcall, UpcallRegistration};
/// use kernel::{
///     interrupt::LocalInterruptDisabled,
///     sync::atomic::{ordering, Atomic},
/// };
///
/// struct Counter(Atomic<u32>);
///
/// impl Upcall for Counter {
///     fn upcall(&self, _irq: &LocalInterruptDisabled) {
///         self.0.add(1, ordering::Relaxed);
///     }
/// }
///
/// let _registration = UpcallRegistration::new(Counter(Atomic::new(0)))?;
/// ```
///
/// # Invariants
///
/// The kernel's handler is the trampoline of `T`, and `RECEIVER` points to `_receiver`.
pub(crate) struct UpcallRegistration<T: Upcall> {
    _receiver: Arc<T>,
}

impl<T: Upcall> UpcallRegistration<T> {
    /// Registers a handler.
    ///
    /// Fails with `EBUSY` if this module has registered one already. The kernel has room for a
    /// single handler: this replaces that of another module, without an error.
    pub(crate) fn new(receiver: T) -> Result<Self> {
        let receiver = Arc::new(receiver, GFP_KERNEL)?;
        let address = ptr::from_ref(&*receiver).cast_mut().cast();
        RECEIVER
            .cmpxchg(ptr::null_mut(), address, ordering::Full)
            .map_err(|_| EBUSY)?;
        // SAFETY: The handler is a function of this module. The kernel calls it in hard-IRQ
        // context. `drop` removes it and waits for it before the module can go.
        unsafe { bindings::acrn_setup_intr_handler(Some(trampoline::<T>)) };
        // INVARIANT: Both were set above, and `RECEIVER` does not change while it is not null.
        Ok(Self {
            _receiver: receiver,
        })
    }
}

impl<T: Upcall> Drop for UpcallRegistration<T> {
    fn drop(&mut self) {
        // SAFETY: No precondition. The handler is ours by the type invariant.
        unsafe { bindings::acrn_remove_intr_handler() };
        // The kernel does not wait for a handler that is still running. Interrupt handlers are RCU
        // read-side critical sections.
        rcu::synchronize_rcu();
        RECEIVER.store(ptr::null_mut(), ordering::Release);
    }
}

/// # Safety
///
/// Must be called in hard-IRQ context, while a registration of `T` exists that waits for this call
/// before it ends.
unsafe extern "C" fn trampoline<T: Upcall>() {
    // SAFETY: This is hard-IRQ context.
    #[cfg(not(CONFIG_PREEMPT_RT))]
    unsafe {
        bindings::hsm_lockdep_hardirq_threaded()
    };
    let receiver = RECEIVER.load(ordering::Acquire).cast::<T>();
    // SAFETY: The registration of `T` owns the receiver, and waits for this call before it drops
    // the receiver.
    let receiver = unsafe { &*receiver };
    // SAFETY: Interrupts are disabled in hard-IRQ context.
    receiver.upcall(unsafe { LocalInterruptDisabled::assume_disabled() });
}
