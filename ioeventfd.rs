// SPDX-License-Identifier: GPL-2.0

//! ioeventfds: writes of a guest that signal an eventfd, and are done with that.
//!
//! An access inside a registered range never gets to the device model: a read returns 0, a write
//! signals what is registered for it, if anything.

use crate::{
    abstractions::{
        eventfd::EventFd,
        object_count::{
            self,
            Counted, //
        }, //
    },
    ioreq::{
        Access,
        Direction,
        IoRequests,
        Space, //
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

/// Most ioeventfds of a VM, so that the kernel's memory for them is bounded.
const MAX_IOEVENTFDS: usize = 1024;

/// Most of them with the same start, so that what one write signals is bounded. A virtio device of the legacy
/// kind has as many there as it has queues.
const MAX_AT_A_PLACE: usize = 64;

/// Longest range, in bytes.
const MAX_LEN: u64 = 8;

/// `ACRN_IOEVENTFD_FLAG_ASYNCIO` of ACRN's own kernel: a hint that acrn-dm gives to every driver.
const FLAG_ASYNCIO: u32 = 0x08;
const KNOWN_FLAGS: u32 = uapi::ACRN_IOEVENTFD_FLAG_PIO
    | uapi::ACRN_IOEVENTFD_FLAG_DATAMATCH
    | uapi::ACRN_IOEVENTFD_FLAG_DEASSIGN
    | FLAG_ASYNCIO;

/// The low `len` bytes of a number; `len` is 1 to 8.
fn low_bytes(len: u64) -> u64 {
    u64::MAX >> (64 - 8 * len.clamp(1, 8))
}

/// The writes that signal an eventfd.
///
/// # Invariants
///
/// `len` is 1, 2, 4 or 8; `start + len` does not overflow; `data` has no bits beyond `len` bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Trigger {
    space: Space,
    start: u64,
    len: u64,
    /// Only this value; `None` for any.
    data: Option<u64>,
}

impl TryFrom<&uapi::acrn_ioeventfd> for Trigger {
    type Error = Error;

    fn try_from(argument: &uapi::acrn_ioeventfd) -> Result<Self> {
        let len = argument.len.into();
        if !matches!(len, 1 | 2 | 4 | 8) || argument.addr.checked_add(len).is_none() {
            return Err(EINVAL);
        }
        let matches_data = argument.flags & uapi::ACRN_IOEVENTFD_FLAG_DATAMATCH != 0;
        // INVARIANT: Checked above; masked here.
        Ok(Self {
            space: match argument.flags & uapi::ACRN_IOEVENTFD_FLAG_PIO {
                0 => Space::Memory,
                _ => Space::Port,
            },
            start: argument.addr,
            len,
            data: matches_data.then_some(argument.data & low_bytes(len)),
        })
    }
}

impl Trigger {
    /// Where it is, for sorting.
    fn place(&self) -> (Space, u64) {
        (self.space, self.start)
    }

    /// Whether one write could signal through both: widths do not count, as in upstream.
    fn conflicts(&self, other: &Self) -> bool {
        self.place() == other.place()
            && (self.data.is_none() || other.data.is_none() || self.data == other.data)
    }

    /// Whether `asked`, whose data counts only if it is given, means this.
    fn is_meant_by(&self, asked: &Self) -> bool {
        self.place() == asked.place()
            && self.len == asked.len
            && (asked.data.is_none() || asked.data == self.data)
    }

    /// Whether a write of `size` bytes at `start` signals.
    fn fires(&self, size: u64, value: u64) -> bool {
        let differs = |data| (data ^ value) & low_bytes(size) != 0;
        size <= self.len && !self.data.is_some_and(differs)
    }
}

#[derive(Clone)]
struct IoEventFd {
    trigger: Trigger,
    eventfd: Arc<EventFd>,
    /// Later ones have greater ones.
    serial: u64,
    _live: Counted,
}

impl IoEventFd {
    /// The order of entries.
    fn key(&self) -> ((Space, u64), Option<u64>) {
        (self.trigger.place(), self.trigger.data)
    }
}

/// The ioeventfds with the same start: a part of [`Table::entries`].
struct Range {
    /// Length of the longest.
    len: u64,
    /// Where its entries begin, where those for one value do, and where they end.
    begin: usize,
    with_data: usize,
    end: usize,
}

impl Range {
    /// Signals what a write of `size` bytes to the start is to signal.
    fn signal(&self, entries: &[IoEventFd], size: u64, value: u64) {
        let value = value & low_bytes(size);
        let part = |begin, end| entries.get(begin..end).unwrap_or_default();
        let any_data = part(self.begin, self.with_data);
        let with_data = part(self.with_data, self.end);
        let with_data = if size < self.len {
            // Compared by the width of the access, so their order does not help.
            with_data
        } else {
            let begin = with_data.partition_point(|entry| entry.trigger.data < Some(value));
            let rest = with_data.get(begin..).unwrap_or_default();
            rest.split_at(rest.partition_point(|entry| entry.trigger.data == Some(value)))
                .0
        };
        for entry in [any_data, with_data].into_iter().flatten() {
            if entry.trigger.fires(size, value) {
                entry.eventfd.signal();
            }
        }
    }
}

/// The ranges in one space, by their starts.
///
/// # Invariants
///
/// `starts` is sorted, without duplicates; `ranges` has the range of each.
#[derive(Default)]
struct Ranges {
    starts: KVVec<u64>,
    ranges: KVVec<Range>,
    /// The range that was written to last: a guest often writes to a doorbell again.
    recent: usize,
}

impl Ranges {
    fn clear(&mut self) {
        self.starts.clear();
        self.ranges.clear();
    }

    fn reserve(&mut self, count: usize) -> Result {
        self.starts.reserve(count, GFP_KERNEL_ACCOUNT)?;
        self.ranges.reserve(count, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Adds the entry `index`, which comes after all that were added.
    fn push(&mut self, trigger: &Trigger, index: usize) {
        if self.starts.last() != Some(&trigger.start) {
            // Room was reserved.
            let _ = self.starts.push_within_capacity(trigger.start);
            let _ = self.ranges.push_within_capacity(Range {
                len: 0,
                begin: index,
                with_data: index,
                end: index,
            });
        }
        if let Some(range) = self.ranges.last_mut() {
            range.len = range.len.max(trigger.len);
            range.end = index + 1;
            if trigger.data.is_none() {
                range.with_data = range.end;
            }
        }
    }

    /// The ranges that start at `address` or before it, but less than [`MAX_LEN`], the nearest first; and how
    /// far before it.
    fn near(&mut self, address: u64) -> impl Iterator<Item = (u64, &Range)> {
        if self.starts.get(self.recent) != Some(&address) {
            let after = self.starts.partition_point(|start| *start <= address);
            self.recent = after.saturating_sub(1);
        }
        let after = match self.starts.get(self.recent) {
            Some(start) if *start <= address => self.recent + 1,
            _ => 0,
        };
        let starts = self.starts.get(..after).unwrap_or_default();
        let ranges = self.ranges.get(..after).unwrap_or_default();
        let before = starts.iter().zip(ranges).rev();
        before
            .map(move |(start, range)| (address - start, range))
            .take_while(|(offset, _)| *offset < MAX_LEN)
    }
}

/// The ioeventfds of a VM as the dispatcher looks them up: by binary search.
#[derive(Default)]
pub(crate) struct Table {
    ports: Ranges,
    memory: Ranges,
    /// Sorted by [`IoEventFd::key`].
    entries: KVVec<IoEventFd>,
}

impl Table {
    /// Replaces the contents by entries that are sorted. Allocates only for more than there ever were.
    fn fill(&mut self, sorted: &[IoEventFd]) -> Result {
        self.clear();
        self.entries.reserve(sorted.len(), GFP_KERNEL_ACCOUNT)?;
        self.ports.reserve(sorted.len())?;
        self.memory.reserve(sorted.len())?;
        for (index, entry) in sorted.iter().enumerate() {
            let ranges = match entry.trigger.space {
                Space::Port => &mut self.ports,
                Space::Memory => &mut self.memory,
            };
            ranges.push(&entry.trigger, index);
            // Room was reserved.
            let _ = self.entries.push_within_capacity(entry.clone());
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.ports.clear();
        self.memory.clear();
    }

    /// Handles an access of a guest, if it lies inside a range. Any context.
    ///
    /// Takes logarithmic time, and that of the entries at one place, of which there are at most
    /// [`MAX_AT_A_PLACE`].
    pub(crate) fn handle(&mut self, access: &Access) -> bool {
        let ranges = match access.space {
            Space::Port => &mut self.ports,
            Space::Memory => &mut self.memory,
        };
        let mut covered = false;
        for (offset, range) in ranges.near(access.address) {
            covered |= offset + access.size <= range.len;
            if offset == 0 {
                if let Direction::Write(value) = access.direction {
                    range.signal(&self.entries, access.size, value);
                }
            }
            if covered {
                // Ranges further ahead signal nothing.
                break;
            }
        }
        covered
    }
}

/// What is registered.
struct Registered {
    /// By [`IoEventFd::key`].
    sorted: KVVec<IoEventFd>,
    /// The table that was in service before. It has room for all but the last that came, so that
    /// none can be taken away for want of memory.
    spare: Table,
    next_serial: u64,
}

/// The ioeventfds of a VM.
#[pin_data]
pub(crate) struct IoEventFds {
    #[pin]
    registered: Mutex<Registered>,
    /// How many are in service, for readers that may not wait.
    count: Atomic<usize>,
}

impl IoEventFds {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            registered <- new_mutex!(Registered {
                sorted: KVVec::new(),
                spare: Table::default(),
                next_serial: 0,
            }),
            count: Atomic::new(0),
        })
    }

    /// IOEVENTFD. `requests` are those of the same VM.
    pub(crate) fn configure(
        &self,
        requests: &IoRequests,
        argument: &uapi::acrn_ioeventfd,
    ) -> Result {
        if argument.reserved != 0 || argument.flags & !KNOWN_FLAGS != 0 {
            return Err(EINVAL);
        }
        if argument.flags & uapi::ACRN_IOEVENTFD_FLAG_DEASSIGN != 0 {
            self.deassign(requests, argument)
        } else {
            self.assign(requests, argument)
        }
    }

    fn assign(&self, requests: &IoRequests, argument: &uapi::acrn_ioeventfd) -> Result {
        let trigger = Trigger::try_from(argument)?;
        let eventfd = EventFd::from_fd(argument.fd)?;
        let mut guard = self.registered.lock();
        let registered = &mut *guard;
        let sorted = &mut registered.sorted;
        let known = sorted.iter().find(|known| *known.eventfd == eventfd);
        let eventfd = match known {
            Some(known) => known.eventfd.clone(),
            None => Arc::new(eventfd, GFP_KERNEL_ACCOUNT)?,
        };
        let mut same = sorted
            .iter()
            .filter(|known| Arc::ptr_eq(&known.eventfd, &eventfd));
        if same.any(|known| known.trigger.conflicts(&trigger)) {
            return Err(EEXIST);
        }
        let place = trigger.place();
        let same_place = sorted.iter().filter(|known| known.trigger.place() == place);
        if sorted.len() >= MAX_IOEVENTFDS || same_place.count() >= MAX_AT_A_PLACE {
            return Err(ENOSPC);
        }
        sorted.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let new = IoEventFd {
            trigger,
            eventfd,
            serial: registered.next_serial,
            _live: Counted::new(&object_count::IOEVENTFDS),
        };
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

    /// Takes away the ioeventfd of the given eventfd that `argument` means. If none is at that place
    /// with that data, it is the one that was assigned first. Without any this does nothing.
    ///
    /// As upstream's: acrn-dm computes the address from a BAR that may have moved since, and de-assigns
    /// some twice.
    fn deassign(&self, requests: &IoRequests, argument: &uapi::acrn_ioeventfd) -> Result {
        let asked = Trigger::try_from(argument).ok();
        let eventfd = EventFd::from_fd(argument.fd)?;
        let mut registered = self.registered.lock();
        let of_eventfd = registered.sorted.iter().enumerate();
        let of_eventfd = of_eventfd.filter(|(_, known)| *known.eventfd == eventfd);
        let meant = of_eventfd.min_by_key(|(_, known)| {
            let exact = asked.is_some_and(|asked| known.trigger.is_meant_by(&asked));
            (!exact, known.serial)
        });
        let Some((index, _)) = meant else {
            return Ok(());
        };
        registered.sorted.remove(index).map_err(|_| EINVAL)?;
        self.publish(&mut registered, requests)
    }

    /// Has the upcall use what is registered.
    fn publish(&self, registered: &mut Registered, requests: &IoRequests) -> Result {
        registered.spare.fill(&registered.sorted)?;
        requests.swap_ioeventfds(&mut registered.spare);
        // Lets go of eventfds.
        registered.spare.clear();
        self.count.store(registered.sorted.len(), ordering::Relaxed);
        Ok(())
    }

    /// Takes all away.
    pub(crate) fn clear(&self, requests: &IoRequests) {
        let mut registered = self.registered.lock();
        registered.sorted.clear();
        // Needs no memory.
        let _ = self.publish(&mut registered, requests);
    }

    /// How many there are. Does not wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(ordering::Relaxed)
    }
}
