// SPDX-License-Identifier: GPL-2.0

//! irqfds: a signal of an eventfd sends an MSI to the guest.
//!
//! The MSI is injected where the eventfd is signalled, from a parameter block made beforehand: no
//! thread, no allocation, no lock of ours.

use crate::{
    abstractions::{
        contiguous::Contiguous,
        eventfd::EventFd,
        eventfd_hook::{
            EventFdHook,
            Listener, //
        },
        tracepoints::acrn_irqfd_inject,
    },
    hypercall::{
        self,
        VmId, //
    },
    uapi,
};
use kernel::{
    fs::file::LocalFile,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering,
            Atomic, //
        },
        rcu,
        Mutex, //
    },
};

/// Sends one MSI.
struct Injector {
    vm: VmId,
    msi: Contiguous<uapi::acrn_msi_entry>,
    /// Whether the VM is there. Goes to false before it is destroyed.
    armed: Atomic<bool>,
    /// User space has closed the eventfd.
    hung_up: Atomic<bool>,
}

impl Injector {
    fn inject(&self) {
        acrn_irqfd_inject(self.vm.into(), self.msi.msi_addr, self.msi.msi_data);
        // What the hypervisor does not accept is lost, as is a write to a wrong address.
        let _ = hypercall::inject_msi(self.vm, &self.msi);
    }
}

impl Listener for Injector {
    fn signalled(&self) -> bool {
        // Who disarms waits for this to end.
        let _rcu = rcu::read_lock();
        // The kernel may signal an eventfd that user space has closed.
        let wanted = self.armed.load(ordering::Acquire) && !self.hung_up.load(ordering::Acquire);
        if wanted {
            self.inject();
        }
        wanted
    }

    fn hung_up(&self) {
        self.hung_up.store(true, ordering::Release);
    }
}

type IrqFd = Pin<KBox<EventFdHook<Injector>>>;

/// The irqfds of one VM.
///
/// One whose eventfd is closed does nothing any more; it is taken off the next time that user space
/// changes irqfds.
#[pin_data]
pub(crate) struct IrqFds {
    vm: VmId,
    #[pin]
    hooked: Mutex<KVec<IrqFd>>,
}

impl IrqFds {
    pub(crate) fn new(vm: VmId) -> impl PinInit<Self> {
        pin_init!(Self {
            vm,
            hooked <- new_mutex!(KVec::new()),
        })
    }

    /// IRQFD. To take away one that is not there is no error, as in upstream.
    pub(crate) fn configure(&self, argument: &uapi::acrn_irqfd) -> Result {
        let fd = u32::try_from(argument.fd).map_err(|_| EBADF)?;
        match argument.flags {
            0 => self.assign(fd, argument.msi),
            uapi::ACRN_IRQFD_FLAG_DEASSIGN => {
                let eventfd = EventFd::from_fd(fd)?;
                self.hooked
                    .lock()
                    .retain(|known| is_open(known) && *known.eventfd() != eventfd);
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }

    fn assign(&self, fd: u32, msi: uapi::acrn_msi_entry) -> Result {
        let file = LocalFile::fget(fd)?;
        let eventfd = EventFd::from_file(&file)?;
        let injector = Injector {
            vm: self.vm,
            msi: Contiguous::new(msi)?,
            armed: Atomic::new(true),
            hung_up: Atomic::new(false),
        };
        let mut hooked = self.hooked.lock();
        hooked.retain(|known| is_open(known));
        if hooked.iter().any(|known| *known.eventfd() == eventfd) {
            return Err(EBUSY);
        }
        hooked.reserve(1, GFP_KERNEL)?;
        let irqfd = EventFdHook::new(&file, eventfd, injector)?;
        inject_missed(&irqfd);
        // Room was reserved.
        let _ = hooked.push_within_capacity(irqfd);
        Ok(())
    }

    /// Runs `destroy`, after which the hypervisor may give the VM's id to another, with all irqfds
    /// silent. If it fails they go on, and what was signalled meanwhile is injected.
    pub(crate) fn end_with(&self, destroy: impl FnOnce() -> Result) -> Result {
        let mut hooked = self.hooked.lock();
        if !hooked.is_empty() {
            arm(&hooked, false);
            rcu::synchronize_rcu();
        }
        let result = destroy();
        if result.is_ok() {
            hooked.clear();
        } else {
            arm(&hooked, true);
            hooked.iter().for_each(inject_missed);
        }
        result
    }

    /// Takes all away. After this none injects any more.
    pub(crate) fn clear(&self) {
        self.hooked.lock().clear();
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.hooked
            .lock()
            .iter()
            .filter(|irqfd| is_open(irqfd))
            .count()
    }
}

fn arm(hooked: &[IrqFd], armed: bool) {
    for irqfd in hooked {
        irqfd.listener().armed.store(armed, ordering::Release);
    }
}

/// Injects for an event that came while nobody listened.
fn inject_missed(irqfd: &IrqFd) {
    if irqfd.take_event() {
        irqfd.listener().inject();
    }
}

fn is_open(irqfd: &IrqFd) -> bool {
    !irqfd.listener().hung_up.load(ordering::Acquire)
}
