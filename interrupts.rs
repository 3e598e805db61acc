// SPDX-License-Identifier: GPL-2.0

//! Interrupts that the Service VM injects into a User VM.
//!
//! ACRN wakes a vCPU for an interrupt even if its VM is paused. The vCPU then runs, and the
//! hypervisor crashes on a RESET_VM or DESTROY_VM of that VM. So nothing is injected between
//! PAUSE_VM and RESET_VM, which makes the hypervisor forget pending interrupts anyway.

use crate::{
    abstractions::contiguous::Contiguous,
    hypercall::{
        self,
        VmId, //
    },
    uapi,
};
use kernel::{
    interrupt::LocalInterruptDisabled,
    prelude::*,
    sync::{
        new_spinlock_irq,
        SpinLockIrq, //
    },
};

/// GSIs of a User VM: the pins of its virtual I/O APIC.
const GSIS: u64 = 48;
/// Bits 31:20 of the address of an MSI (Intel SDM 3A, 11.11.1).
const MSI_ADDRESS: u64 = 0xFEE;

/// Whether interrupts are injected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Injection {
    On,
    /// START_VM, PAUSE_VM or DESTROY_VM is in progress. Its result decides.
    Held,
    /// The VM is paused or gone.
    Off,
}

/// The outcome of an injection.
#[must_use]
pub(crate) enum Injected {
    /// The driver made the hypercall, which returned this result.
    Sent(Result),
    /// The interrupt was checked and dropped, because the VM is paused or gone.
    Dropped(Result),
    /// Nothing was done: START_VM, PAUSE_VM or DESTROY_VM is in progress.
    Held,
}

/// The interrupts of a VM.
#[pin_data]
pub(crate) struct Interrupts {
    vm: VmId,
    /// Held during an injection, so that none is in progress when [`Injection`] changes. A leaf.
    #[pin]
    injector: SpinLockIrq<Injector>,
}

struct Injector {
    injection: Injection,
    /// The MSI to inject, where the hypervisor can read it.
    msi: Contiguous<uapi::acrn_msi_entry>,
}

impl Injector {
    /// Makes the hypercall, unless interrupts are held back or dropped. `is_valid` replaces the
    /// hypervisor's check of an interrupt that is dropped.
    fn inject(
        &mut self,
        is_valid: impl FnOnce() -> bool,
        hypercall: impl FnOnce(&mut Contiguous<uapi::acrn_msi_entry>) -> Result,
    ) -> Injected {
        match self.injection {
            Injection::On => Injected::Sent(hypercall(&mut self.msi)),
            Injection::Held => Injected::Held,
            Injection::Off => Injected::Dropped(is_valid().then_some(()).ok_or(EPERM)),
        }
    }
}

impl Interrupts {
    /// Returns an initialiser for the interrupts of `vm`.
    pub(crate) fn new(vm: VmId) -> Result<impl PinInit<Self>> {
        let injector = Injector {
            injection: Injection::On,
            msi: Contiguous::new(uapi::acrn_msi_entry::default())?,
        };
        Ok(pin_init!(Self {
            vm,
            injector <- new_spinlock_irq!(injector, "acrn_interrupts"),
        }))
    }

    /// Injects an MSI. Any context in which a `spinlock_t` may be taken. `irq` is for a caller that
    /// has interrupts disabled.
    ///
    /// Fails with `EPERM` if the address is not that of an MSI.
    pub(crate) fn inject_msi(
        &self,
        msi: &uapi::acrn_msi_entry,
        irq: Option<&LocalInterruptDisabled>,
    ) -> Injected {
        let is_valid = || msi.msi_addr >> 20 & 0xFFF == MSI_ADDRESS;
        let hypercall = |parameter: &mut Contiguous<uapi::acrn_msi_entry>| {
            **parameter = *msi;
            hypercall::inject_msi(self.vm, parameter)
        };
        match irq {
            Some(irq) => self.injector.lock_with(irq).inject(is_valid, hypercall),
            None => self.injector.lock().inject(is_valid, hypercall),
        }
    }

    /// Drives an interrupt line: GSI in bits 31:0 of `line`, operation in bits 63:32. Any context
    /// in which a `spinlock_t` may be taken.
    ///
    /// Fails with `EPERM` if there is no such GSI.
    pub(crate) fn set_irqline(&self, line: u64) -> Injected {
        let is_valid = || line & u64::from(u32::MAX) < GSIS;
        let hypercall = |_: &mut Contiguous<_>| hypercall::set_irqline(self.vm, line);
        self.injector.lock().inject(is_valid, hypercall)
    }

    /// Runs `change`, PAUSE_VM or DESTROY_VM, with no injection in progress.
    ///
    /// If `change` succeeds, interrupts are dropped afterwards; if it fails, they are handled as
    /// before. The caller's lock serialises changes.
    pub(crate) fn stop_with<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        self.hold(Injection::Off, change)
    }

    /// Runs `start`, START_VM, with no injection in progress.
    ///
    /// If `start` succeeds, interrupts are injected afterwards; if it fails, they are handled as
    /// before. The caller's lock serialises changes.
    pub(crate) fn start_with<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        self.hold(Injection::On, start)
    }

    fn hold<T>(&self, after: Injection, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = core::mem::replace(&mut self.injector.lock().injection, Injection::Held);
        let result = change();
        self.injector.lock().injection = if result.is_ok() { after } else { before };
        result
    }

    /// Injects interrupts again: the VM was reset.
    pub(crate) fn resume(&self) {
        self.injector.lock().injection = Injection::On;
    }
}
