// SPDX-License-Identifier: GPL-2.0

//! ioeventfds: writes of a guest that signal an eventfd and need no other handler.
//!
//! An access inside a registered range never reaches the device model: a read returns 0, and a
//! write signals the eventfds that are registered for it, if any.

use crate::{
    abstractions::eventfd::EventFd,
    ioreq::{
        ioeventfd_table::{
            Entry,
            Trigger,
            MAX_PER_START, //
        },
        IoEventFdTable,
        IoRequests, //
    },
    uapi,
};
use kernel::{
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

/// The most ioeventfds of a VM, so that the kernel memory that they take is bounded.
const MAX_IOEVENTFDS: usize = 1024;

/// `ACRN_IOEVENTFD_FLAG_ASYNCIO` of ACRN's own kernel: a hint that acrn-dm gives to every driver.
const FLAG_ASYNCIO: u32 = 0x08;
const KNOWN_FLAGS: u32 = uapi::ACRN_IOEVENTFD_FLAG_PIO
    | uapi::ACRN_IOEVENTFD_FLAG_DATAMATCH
    | uapi::ACRN_IOEVENTFD_FLAG_DEASSIGN
    | FLAG_ASYNCIO;

struct Registered {
    /// By [`Entry::key`].
    sorted: KVVec<Entry<Arc<EventFd>>>,
    /// The table that the dispatcher used before. It has room for all entries except the newest,
    /// so that removing an entry never needs memory.
    spare: IoEventFdTable,
    next_serial: u64,
    /// The VM has ended, or its file was closed.
    is_closed: bool,
}

impl Registered {
    /// Fails with `ENODEV` if the VM has ended.
    fn open(&mut self) -> Result<&mut Self> {
        match self.is_closed {
            false => Ok(self),
            true => Err(ENODEV),
        }
    }
}

/// The ioeventfds of a VM.
#[pin_data]
pub(crate) struct IoEventFds {
    #[pin]
    registered: Mutex<Registered>,
    /// The number of ioeventfds, for readers that may not wait.
    count: Atomic<usize>,
}

impl IoEventFds {
    /// Returns an initialiser.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            registered <- new_mutex!(Registered {
                sorted: KVVec::new(),
                spare: IoEventFdTable::default(),
                next_serial: 0,
                is_closed: false,
            }),
            count: Atomic::new(0),
        })
    }

    /// Assigns or deassigns an ioeventfd (IOEVENTFD). `requests` are those of the same VM.
    ///
    /// Fails with `EINVAL` for unknown flags, with `ENODEV` if the VM has ended, and as
    /// [`EventFd::from_fd`].
    pub(crate) fn configure(
        &self,
        requests: &IoRequests,
        argument: &uapi::acrn_ioeventfd,
    ) -> Result {
        if argument.flags & !KNOWN_FLAGS != 0 {
            return Err(EINVAL);
        }
        if argument.flags & uapi::ACRN_IOEVENTFD_FLAG_DEASSIGN != 0 {
            self.deassign(requests, argument)
        } else {
            self.assign(requests, argument)
        }
    }

    /// Assigns an ioeventfd.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the length is not 1, 2, 4 or 8, or the range wraps.
    /// - `EEXIST` if the eventfd has an ioeventfd with the same start, unless both have data that
    ///   differ.
    /// - `ENOSPC` if the VM has too many ioeventfds, or too many with the same start.
    fn assign(&self, requests: &IoRequests, argument: &uapi::acrn_ioeventfd) -> Result {
        let trigger = Trigger::try_from(argument)?;
        let eventfd = EventFd::from_fd(argument.fd)?;
        let mut guard = self.registered.lock();
        let registered = guard.open()?;
        let sorted = &mut registered.sorted;
        let known = sorted.iter().find(|known| *known.signal == eventfd);
        let eventfd = match known {
            Some(known) => known.signal.clone(),
            None => Arc::new(eventfd, GFP_KERNEL_ACCOUNT)?,
        };
        let mut same = sorted
            .iter()
            .filter(|known| Arc::ptr_eq(&known.signal, &eventfd));
        if same.any(|known| known.trigger.conflicts(&trigger)) {
            return Err(EEXIST);
        }
        let start = trigger.start();
        let same_start = sorted.iter().filter(|known| known.trigger.start() == start);
        if sorted.len() >= MAX_IOEVENTFDS || same_start.count() >= MAX_PER_START {
            return Err(ENOSPC);
        }
        sorted.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let new = Entry::new(trigger, eventfd, registered.next_serial);
        let index = sorted.partition_point(|known| known.key() < new.key());
        // Room was reserved.
        let _ = sorted.insert_within_capacity(index, new);
        let published = self.publish(registered, requests);
        match published {
            Ok(()) => registered.next_serial += 1,
            Err(_) => drop(registered.sorted.remove(index)),
        }
        published
    }

    /// Deassigns the ioeventfd of the given eventfd that `argument` names. If none has that range
    /// and data, deassigns the one that was assigned first. Does nothing if there is none.
    ///
    /// This is what upstream's driver does, and acrn-dm relies on it: it computes the address from
    /// a BAR that may have moved meanwhile, and deassigns some ioeventfds twice.
    fn deassign(&self, requests: &IoRequests, argument: &uapi::acrn_ioeventfd) -> Result {
        let asked = Trigger::try_from(argument).ok();
        let eventfd = EventFd::from_fd(argument.fd)?;
        let mut registered = self.registered.lock();
        let registered = registered.open()?;
        let of_eventfd = registered.sorted.iter().enumerate();
        let of_eventfd = of_eventfd.filter(|(_, known)| *known.signal == eventfd);
        let named = of_eventfd.min_by_key(|(_, known)| {
            let is_exact = asked.is_some_and(|asked| known.trigger.is_named_by(&asked));
            (!is_exact, known.serial)
        });
        let Some((index, _)) = named else {
            return Ok(());
        };
        registered.sorted.remove(index).map_err(|_| EINVAL)?;
        self.publish(registered, requests)
    }

    /// Makes the dispatcher use the entries that are registered.
    fn publish(&self, registered: &mut Registered, requests: &IoRequests) -> Result {
        registered.spare.fill(&registered.sorted)?;
        requests.swap_ioeventfds(&mut registered.spare);
        // Releases eventfds.
        registered.spare.clear();
        self.count.store(registered.sorted.len(), ordering::Relaxed);
        Ok(())
    }

    /// Deassigns all ioeventfds for good.
    pub(crate) fn clear(&self, requests: &IoRequests) {
        let mut registered = self.registered.lock();
        registered.is_closed = true;
        registered.sorted.clear();
        // Needs no memory.
        let _ = self.publish(&mut registered, requests);
    }

    /// Returns the number of ioeventfds. Does not wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(ordering::Relaxed)
    }
}
