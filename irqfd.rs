// SPDX-License-Identifier: GPL-2.0

//! irqfds: signals of an eventfd that inject an MSI into the guest.
//!
//! The MSI is injected from within the signal, without a thread or an allocation.

use crate::{
    abstractions::{
        eventfd::EventFd,
        eventfd_notifier::{
            EventFdNotifier,
            Listener, //
        },
        tracepoints::acrn_irqfd_inject,
    },
    hypercall::VmId,
    interrupts::{
        Injected,
        Interrupts, //
    },
    uapi,
};
use kernel::{
    fs::file::LocalFile,
    interrupt::LocalInterruptDisabled,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
};

/// The most irqfds of a VM, so that the kernel memory that they take is bounded.
const MAX_IRQFDS: usize = 1024;

/// Injects an MSI for each signal.
struct MsiListener {
    vm: VmId,
    interrupts: Arc<Interrupts>,
    msi: uapi::acrn_msi_entry,
    /// An event arrived while injection was held back. Set with the counter's lock held.
    missed: Atomic<bool>,
    /// User space has closed the eventfd.
    hung_up: Atomic<bool>,
}

impl Listener for MsiListener {
    /// Takes the event. While injection is held back, remembers it: on the counter, another user of
    /// the eventfd could take it.
    fn signalled(&self, irq: Option<&LocalInterruptDisabled>) -> bool {
        // The kernel may signal an eventfd that user space has closed.
        let is_open = !self.hung_up.load(ordering::Acquire);
        if is_open {
            self.inject(irq);
        }
        is_open
    }

    fn hung_up(&self) {
        self.hung_up.store(true, ordering::Release);
    }
}

impl MsiListener {
    fn inject(&self, irq: Option<&LocalInterruptDisabled>) {
        match self.interrupts.inject_msi(&self.msi, irq) {
            // An MSI that the hypervisor refuses is lost, as is a write to a wrong address.
            Injected::Sent(_) => {
                acrn_irqfd_inject(self.vm.into(), self.msi.msi_addr, self.msi.msi_data);
            }
            Injected::Dropped(_) => {}
            Injected::Held => self.missed.store(true, ordering::Relaxed),
        }
    }
}

type IrqFd = Pin<KBox<EventFdNotifier<MsiListener>>>;

/// The irqfds of a VM.
///
/// An irqfd whose eventfd was closed does nothing any more. It is freed when user space next
/// changes irqfds.
#[pin_data]
pub(crate) struct IrqFds {
    vm: VmId,
    interrupts: Arc<Interrupts>,
    /// `None` once the VM has ended or its file was closed.
    #[pin]
    assigned: Mutex<Option<KVec<IrqFd>>>,
    /// The number of irqfds, for readers that may not wait.
    count: Atomic<usize>,
}

impl IrqFds {
    /// Returns an initialiser for the irqfds of `vm`.
    pub(crate) fn new(vm: VmId, interrupts: Arc<Interrupts>) -> impl PinInit<Self> {
        pin_init!(Self {
            vm,
            interrupts,
            assigned <- new_mutex!(Some(KVec::new())),
            count: Atomic::new(0),
        })
    }

    /// Assigns or deassigns an irqfd (IRQFD).
    ///
    /// Deassigning an irqfd that does not exist is no error, as in upstream's driver. Fails with
    /// `EINVAL` for unknown flags, and with `ENODEV` if the VM has ended.
    pub(crate) fn configure(&self, argument: &uapi::acrn_irqfd) -> Result {
        let fd = u32::try_from(argument.fd).map_err(|_| EBADF)?;
        match argument.flags {
            0 => self.assign(fd, argument.msi),
            uapi::ACRN_IRQFD_FLAG_DEASSIGN => {
                let eventfd = EventFd::from_fd(fd)?;
                let mut assigned = self.assigned.lock();
                let Some(assigned) = &mut *assigned else {
                    return Err(ENODEV);
                };
                self.retain(assigned, |known| *known.eventfd() != eventfd);
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }

    /// Assigns an irqfd.
    ///
    /// Fails with `EBUSY` if the eventfd is an irqfd of this VM, and with `ENOSPC` if the VM has
    /// too many.
    fn assign(&self, fd: u32, msi: uapi::acrn_msi_entry) -> Result {
        let file = LocalFile::fget(fd)?;
        let eventfd = EventFd::from_file(&file)?;
        let listener = MsiListener {
            vm: self.vm,
            interrupts: self.interrupts.clone(),
            msi,
            missed: Atomic::new(false),
            hung_up: Atomic::new(false),
        };
        let mut assigned = self.assigned.lock();
        let Some(assigned) = &mut *assigned else {
            return Err(ENODEV);
        };
        self.retain(assigned, |_| true);
        if assigned.iter().any(|known| *known.eventfd() == eventfd) {
            return Err(EBUSY);
        }
        if assigned.len() >= MAX_IRQFDS {
            return Err(ENOSPC);
        }
        assigned.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let irqfd = EventFdNotifier::new(&file, listener)?;
        // An event from before. None is held back now, under the lock of `assigned`.
        if irqfd.take_event() {
            irqfd.listener().signalled(None);
        }
        assigned.push_within_capacity(irqfd).map_err(|_| ENOMEM)?;
        self.count.store(assigned.len(), ordering::Relaxed);
        Ok(())
    }

    /// Keeps the irqfds for which `is_kept` returns true, without those whose eventfd was closed.
    fn retain(&self, assigned: &mut KVec<IrqFd>, is_kept: impl Fn(&IrqFd) -> bool) {
        assigned.retain(|known| is_open(known) && is_kept(known));
        self.count.store(assigned.len(), ordering::Relaxed);
    }

    /// Runs `change`, PAUSE_VM or DESTROY_VM, as [`Interrupts::stop_with`]. Events that arrived
    /// meanwhile are taken afterwards, and injected if it failed.
    pub(crate) fn stop_with<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        self.hold(|| self.interrupts.stop_with(change))
    }

    /// Runs `start`, START_VM, as [`Interrupts::start_with`]. Events that arrived meanwhile are
    /// taken afterwards, and injected if it succeeded.
    pub(crate) fn start_with<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        self.hold(|| self.interrupts.start_with(start))
    }

    fn hold<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let assigned = self.assigned.lock();
        let result = change();
        assigned.iter().flatten().for_each(take_missed);
        result
    }

    /// Deassigns all irqfds for good. None injects any more once this returns.
    pub(crate) fn clear(&self) {
        let mut assigned = self.assigned.lock();
        *assigned = None;
        self.count.store(0, ordering::Relaxed);
    }

    /// Returns the number of irqfds, without those whose eventfd was found to be closed. Does not
    /// wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(ordering::Relaxed)
    }
}

/// Takes an event that arrived while injection was held back.
///
/// The counter does not show it. What is left on a semaphore was not signalled since.
fn take_missed(irqfd: &IrqFd) {
    let listener = irqfd.listener();
    // A signal before this has set `missed` by now; one after it finds injection not held back any
    // more.
    irqfd.wait_for_listener();
    if listener.missed.xchg(false, ordering::Relaxed) {
        // Even if user space has closed the eventfd since.
        listener.inject(None);
    }
}

fn is_open(irqfd: &IrqFd) -> bool {
    !irqfd.listener().hung_up.load(ordering::Acquire)
}
