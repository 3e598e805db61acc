// SPDX-License-Identifier: GPL-2.0

//! irqfds: a signal of an eventfd sends an MSI to the guest.
//!
//! The MSI is injected where the eventfd is signalled: no thread and no allocation.

use crate::{
    abstractions::{
        eventfd::EventFd,
        eventfd_notifier::{
            EventFdHook,
            Listener, //
        },
        tracepoints::acrn_irqfd_inject,
    },
    hypercall::VmId,
    interrupts::{
        Interrupts,
        Sent, //
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
        Arc,
        Mutex, //
    },
};

/// Most irqfds of a VM, so that the kernel's memory for them is bounded.
const MAX_IRQFDS: usize = 1024;

/// Sends one MSI.
struct Injector {
    vm: VmId,
    interrupts: Arc<Interrupts>,
    msi: uapi::acrn_msi_entry,
    /// User space has closed the eventfd.
    hung_up: Atomic<bool>,
}

impl Listener for Injector {
    /// The event is taken unless it is undecided whether interrupts are sent: then it is looked at
    /// again when that is known.
    fn signalled(&self) -> bool {
        // The kernel may signal an eventfd that user space has closed.
        if self.hung_up.load(ordering::Acquire) {
            return false;
        }
        match self.interrupts.inject_msi(&self.msi) {
            Sent::Told(_) => {
                // What the hypervisor does not accept is lost, as is a write to a wrong address.
                acrn_irqfd_inject(self.vm.into(), self.msi.msi_addr, self.msi.msi_data);
                true
            }
            Sent::Dropped(_) => true,
            Sent::Undecided => false,
        }
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
    interrupts: Arc<Interrupts>,
    #[pin]
    hooked: Mutex<KVec<IrqFd>>,
    /// How many of them are open, for readers that may not wait.
    count: Atomic<usize>,
}

impl IrqFds {
    pub(crate) fn new(vm: VmId, interrupts: Arc<Interrupts>) -> impl PinInit<Self> {
        pin_init!(Self {
            vm,
            interrupts,
            hooked <- new_mutex!(KVec::new()),
            count: Atomic::new(0),
        })
    }

    /// IRQFD. To take away one that is not there is no error, as in upstream.
    pub(crate) fn configure(&self, argument: &uapi::acrn_irqfd) -> Result {
        let fd = u32::try_from(argument.fd).map_err(|_| EBADF)?;
        match argument.flags {
            0 => self.assign(fd, argument.msi),
            uapi::ACRN_IRQFD_FLAG_DEASSIGN => {
                let eventfd = EventFd::from_fd(fd)?;
                let mut hooked = self.hooked.lock();
                hooked.retain(|known| is_open(known) && *known.eventfd() != eventfd);
                self.count.store(hooked.len(), ordering::Relaxed);
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }

    /// Fails with `EBUSY` if the eventfd is an irqfd of this VM, with `ENOSPC` if there are too many.
    fn assign(&self, fd: u32, msi: uapi::acrn_msi_entry) -> Result {
        let file = LocalFile::fget(fd)?;
        let eventfd = EventFd::from_file(&file)?;
        let injector = Injector {
            vm: self.vm,
            interrupts: self.interrupts.clone(),
            msi,
            hung_up: Atomic::new(false),
        };
        let mut hooked = self.hooked.lock();
        hooked.retain(|known| is_open(known));
        if hooked.iter().any(|known| *known.eventfd() == eventfd) {
            return Err(EBUSY);
        }
        if hooked.len() >= MAX_IRQFDS {
            return Err(ENOSPC);
        }
        hooked.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let irqfd = EventFdHook::new(&file, injector)?;
        take_missed(&irqfd);
        // Room was reserved.
        let _ = hooked.push_within_capacity(irqfd);
        self.count.store(hooked.len(), ordering::Relaxed);
        Ok(())
    }

    /// Runs `change`, PAUSE_VM or DESTROY_VM, as [`Interrupts::stop_with`]. What was signalled meanwhile
    /// is taken after it, and injected if it failed.
    pub(crate) fn stop_with<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let hooked = self.hooked.lock();
        let result = self.interrupts.stop_with(change);
        hooked.iter().for_each(take_missed);
        result
    }

    /// Takes all away. After this none injects any more.
    pub(crate) fn clear(&self) {
        let mut hooked = self.hooked.lock();
        hooked.clear();
        self.count.store(0, ordering::Relaxed);
    }

    /// How many there are, but those whose eventfd was closed and that were not taken off yet. Does not
    /// wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(ordering::Relaxed)
    }
}

/// Takes an event that came while it was undecided whether interrupts are sent. Under the lock of
/// `hooked`, which is held for as long as it is.
fn take_missed(irqfd: &IrqFd) {
    if irqfd.take_event() {
        irqfd.listener().signalled();
    }
}

fn is_open(irqfd: &IrqFd) -> bool {
    !irqfd.listener().hung_up.load(ordering::Acquire)
}
