// SPDX-License-Identifier: GPL-2.0

//! Interrupts that the Service VM sends to a User VM, and whether they may be sent.
//!
//! ACRN wakes a vCPU for an interrupt even if its VM is paused. The vCPU then runs on, and the
//! hypervisor does not survive a RESET_VM or DESTROY_VM of that VM. So nothing is sent between PAUSE_VM
//! and RESET_VM; the latter forgets interrupts anyway.

use crate::{
    abstractions::contiguous::Contiguous,
    hypercall::{
        self,
        VmId, //
    },
    uapi,
};
use kernel::{
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

/// Whether interrupts are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    On,
    /// PAUSE_VM or DESTROY_VM is under way: its result decides.
    Undecided,
    /// The VM is paused or gone.
    Off,
}

/// What became of an interrupt.
#[must_use]
pub(crate) enum Sent {
    /// The hypervisor was told, and returned this.
    Told(Result),
    /// It was checked and dropped, because the VM is paused or gone.
    Dropped(Result),
    /// Nothing: it is being decided whether interrupts are sent.
    Undecided,
}

/// The interrupts of one VM.
#[pin_data]
pub(crate) struct Interrupts {
    vm: VmId,
    /// Held while an interrupt is sent, so that none is on its way when it says so. A leaf.
    #[pin]
    sender: SpinLockIrq<Sender>,
}

struct Sender {
    delivery: Delivery,
    /// The MSI that is sent, where the hypervisor can read it.
    msi: Contiguous<uapi::acrn_msi_entry>,
}

impl Interrupts {
    /// Makes an initialiser for the interrupts of `vm`.
    pub(crate) fn new(vm: VmId) -> Result<impl PinInit<Self>> {
        let sender = Sender {
            delivery: Delivery::On,
            msi: Contiguous::new(uapi::acrn_msi_entry::default())?,
        };
        Ok(pin_init!(Self {
            vm,
            sender <- new_spinlock_irq!(sender, "acrn_interrupts"),
        }))
    }

    /// Sends an MSI. Any context.
    ///
    /// Fails with `EPERM` if the address is not that of an MSI.
    pub(crate) fn inject_msi(&self, msi: &uapi::acrn_msi_entry) -> Sent {
        let is_msi = msi.msi_addr >> 20 & 0xFFF == MSI_ADDRESS;
        self.send(is_msi, |parameter| {
            **parameter = *msi;
            hypercall::inject_msi(self.vm, parameter)
        })
    }

    /// Drives an interrupt line: GSI in the low 32 bits of `line`, operation in the high ones. Any
    /// context.
    ///
    /// Fails with `EPERM` if there is no such GSI.
    pub(crate) fn set_irqline(&self, line: u64) -> Sent {
        let is_gsi = line & u64::from(u32::MAX) < GSIS;
        self.send(is_gsi, |_| hypercall::set_irqline(self.vm, line))
    }

    /// `is_valid` is the hypervisor's check, for an interrupt that it does not get.
    fn send(
        &self,
        is_valid: bool,
        hypercall: impl FnOnce(&mut Contiguous<uapi::acrn_msi_entry>) -> Result,
    ) -> Sent {
        let mut sender = self.sender.lock();
        match sender.delivery {
            Delivery::On => Sent::Told(hypercall(&mut sender.msi)),
            Delivery::Undecided => Sent::Undecided,
            Delivery::Off => Sent::Dropped(is_valid.then_some(()).ok_or(EPERM)),
        }
    }

    /// Runs `change`, PAUSE_VM or DESTROY_VM, with no interrupt on its way. After success interrupts are
    /// dropped; after a failure all is as it was. Calls are serialised by the caller's lock.
    pub(super) fn stop_with<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = {
            let mut sender = self.sender.lock();
            let before = sender.delivery;
            if before == Delivery::On {
                sender.delivery = Delivery::Undecided;
            }
            before
        };
        let result = change();
        self.sender.lock().delivery = match &result {
            Ok(_) => Delivery::Off,
            Err(_) => before,
        };
        result
    }

    /// Interrupts are sent again: the VM was reset.
    pub(crate) fn resume(&self) {
        self.sender.lock().delivery = Delivery::On;
    }
}
