// SPDX-License-Identifier: GPL-2.0

//! The table in which the dispatcher looks up ioeventfds.

use super::access::{
    Access,
    Direction,
    Space, //
};
use crate::{
    abstractions::{
        eventfd::EventFd,
        object_count::{
            self,
            Counted, //
        },
    },
    uapi, //
};
use kernel::{
    macros::kunit_tests,
    prelude::*,
    sync::Arc, //
};

/// The most ioeventfds with the same start, so that the number of eventfds that one write signals
/// is bounded. A legacy virtio device has one for each of its queues.
pub(crate) const MAX_PER_START: usize = 64;

/// The longest range in bytes.
const MAX_LEN: u64 = 8;

/// Returns a mask of the low `len` bytes of a number. `len` is 1 to 8.
fn low_bytes(len: u64) -> u64 {
    u64::MAX >> (64 - 8 * len.clamp(1, 8))
}

/// An object that a write can signal.
pub(crate) trait Signal: Clone {
    /// Signals the object. Any context in which a `spinlock_t` may be taken.
    fn signal(&self);
}

impl Signal for Arc<EventFd> {
    fn signal(&self) {
        EventFd::signal(self);
    }
}

/// The writes that signal an eventfd.
///
/// # Invariants
///
/// `len` is 1, 2, 4 or 8; `start + len` does not overflow; `data` has no bits beyond `len` bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trigger {
    space: Space,
    start: u64,
    len: u64,
    /// The only value that signals, or `None` if all do.
    data: Option<u64>,
}

impl Trigger {
    /// Creates a trigger for writes of up to `len` bytes at `start`.
    ///
    /// Fails with `EINVAL` if `len` is not 1, 2, 4 or 8, or the range wraps.
    fn new(space: Space, start: u64, len: u64, data: Option<u64>) -> Result<Self> {
        if !matches!(len, 1 | 2 | 4 | 8) || start.checked_add(len).is_none() {
            return Err(EINVAL);
        }
        // INVARIANT: Checked above; masked here.
        Ok(Self {
            space,
            start,
            len,
            data: data.map(|data| data & low_bytes(len)),
        })
    }

    /// Returns the address space and the start of the range.
    pub(crate) fn start(&self) -> (Space, u64) {
        (self.space, self.start)
    }

    /// Returns whether one eventfd cannot have both: they have the same start, and not data that
    /// differ. As in upstream's driver, lengths are ignored.
    ///
    /// A write that is narrower than the data may match both nevertheless. To prevent that would
    /// leave an eventfd only one value for each low byte.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        self.start() == other.start()
            && (self.data.is_none() || other.data.is_none() || self.data == other.data)
    }

    /// Returns whether `asked` names this trigger. Its data counts only if it has any.
    pub(crate) fn is_named_by(&self, asked: &Self) -> bool {
        self.start() == asked.start()
            && self.len == asked.len
            && (asked.data.is_none() || asked.data == self.data)
    }

    /// Returns whether a write of `size` bytes at the start of the range signals.
    fn matches(&self, size: u64, value: u64) -> bool {
        let differs = |data| (data ^ value) & low_bytes(size) != 0;
        size <= self.len && !self.data.is_some_and(differs)
    }
}

impl TryFrom<&uapi::acrn_ioeventfd> for Trigger {
    type Error = Error;

    fn try_from(argument: &uapi::acrn_ioeventfd) -> Result<Self> {
        let space = match argument.flags & uapi::ACRN_IOEVENTFD_FLAG_PIO {
            0 => Space::Memory,
            _ => Space::Port,
        };
        let has_data = argument.flags & uapi::ACRN_IOEVENTFD_FLAG_DATAMATCH != 0;
        let data = has_data.then_some(argument.data);
        Self::new(space, argument.addr, argument.len.into(), data)
    }
}

/// An entry of the table: a trigger, and the object that it signals.
#[derive(Clone)]
pub(crate) struct Entry<S> {
    pub(crate) trigger: Trigger,
    pub(crate) signal: S,
    /// Increases from entry to entry.
    pub(crate) serial: u64,
    _count: Counted,
}

impl<S> Entry<S> {
    /// Creates an entry.
    pub(crate) fn new(trigger: Trigger, signal: S, serial: u64) -> Self {
        Self {
            trigger,
            signal,
            serial,
            _count: Counted::new(&object_count::IOEVENTFDS),
        }
    }

    /// Returns the key by which entries are sorted. Those without data precede those with data.
    pub(crate) fn key(&self) -> ((Space, u64), Option<u64>) {
        (self.trigger.start(), self.trigger.data)
    }
}

/// The entries with the same start: a part of [`Table::entries`].
struct Range {
    /// The length of the longest entry.
    len: u64,
    begin: usize,
    /// The first entry with data.
    with_data: usize,
    end: usize,
}

impl Range {
    /// Signals all entries that a write of `size` bytes at the start matches.
    fn signal<S: Signal>(&self, entries: &[Entry<S>], size: u64, value: u64) {
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
            if entry.trigger.matches(size, value) {
                entry.signal.signal();
            }
        }
    }
}

/// The ranges of one address space, by their starts.
///
/// # Invariants
///
/// `starts` is sorted and has no duplicates; `ranges` has the range of each.
#[derive(Default)]
struct Ranges {
    starts: KVVec<u64>,
    ranges: KVVec<Range>,
    /// Index of the range of the last access: a guest often accesses the same doorbell again.
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

    /// Adds the entry with the index `index`, which follows all entries added before.
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

    /// Returns the ranges that start at `address` or less than [`MAX_LEN`] before it, the nearest
    /// first, with their distance.
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

/// The ioeventfds of a VM, for look-up by binary search.
pub(crate) struct Table<S> {
    ports: Ranges,
    memory: Ranges,
    /// Sorted by [`Entry::key`].
    entries: KVVec<Entry<S>>,
}

impl<S> Default for Table<S> {
    fn default() -> Self {
        Self {
            ports: Ranges::default(),
            memory: Ranges::default(),
            entries: KVVec::new(),
        }
    }
}

impl<S: Signal> Table<S> {
    /// Replaces the contents by entries that are sorted by [`Entry::key`].
    ///
    /// Allocates memory only if the table never had so many entries before.
    pub(crate) fn fill(&mut self, sorted: &[Entry<S>]) -> Result {
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

    /// Removes all entries, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.ports.clear();
        self.memory.clear();
    }

    /// Handles an access of a guest, if it lies inside a range: a write signals all entries that
    /// it matches. Returns whether the access lies inside a range.
    ///
    /// Takes logarithmic time, and time linear in the number of entries with one start, of which
    /// there are at most [`MAX_PER_START`]. Any context in which a `spinlock_t` may be taken.
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

#[kunit_tests(acrn_hsm_ioeventfd_table)]
mod tests {
    use super::*;
    use kernel::sync::atomic::{
        ordering,
        Atomic, //
    };

    /// Counts its signals.
    impl Signal for Arc<Atomic<u32>> {
        fn signal(&self) {
            self.add(1, ordering::Relaxed);
        }
    }

    type Counter = Arc<Atomic<u32>>;

    /// A linear congruential generator.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        fn one_of<T: Copy>(&mut self, values: &[T]) -> Option<T> {
            let index = self.below(values.len() as u64);
            values.get(index as usize).copied()
        }

        fn trigger(&mut self) -> Result<Trigger> {
            let space = self.one_of(&[Space::Port, Space::Memory]).ok_or(EINVAL)?;
            let len = self.one_of(&[1, 2, 4, 8]).ok_or(EINVAL)?;
            // Few addresses and values, so that ranges overlap and writes match.
            let data = (self.below(2) == 0).then(|| self.below(4) << (8 * self.below(8)));
            Trigger::new(space, 0x100 + self.below(24), len, data)
        }

        fn access(&mut self) -> Result<Access> {
            let space = self.one_of(&[Space::Port, Space::Memory]).ok_or(EINVAL)?;
            let value = self.below(4) << (8 * self.below(8));
            let direction = self.one_of(&[Direction::Read, Direction::Write(value)]);
            Ok(Access {
                space,
                direction: direction.ok_or(EINVAL)?,
                address: 0x100 - 8 + self.below(48),
                size: self.below(8) + 1,
            })
        }
    }

    /// Returns whether `access` lies inside the range of `trigger`.
    fn covers(trigger: &Trigger, access: &Access) -> bool {
        trigger.space == access.space
            && trigger.start <= access.address
            && access.address + access.size <= trigger.start + trigger.len
    }

    /// Returns whether `access` signals, by the definition.
    fn signals(trigger: &Trigger, access: &Access) -> bool {
        let Direction::Write(value) = access.direction else {
            return false;
        };
        let mask = low_bytes(access.size);
        trigger.start() == (access.space, access.address)
            && access.size <= trigger.len
            && trigger.data.is_none_or(|data| data & mask == value & mask)
    }

    fn sorted(entries: &mut KVVec<Entry<Counter>>, new: Entry<Counter>) -> Result {
        entries.reserve(1, GFP_KERNEL)?;
        let index = entries.partition_point(|entry| entry.key() < new.key());
        entries
            .insert_within_capacity(index, new)
            .map_err(|_| ENOMEM)
    }

    fn counter() -> Result<Counter> {
        Ok(Arc::new(Atomic::new(0), GFP_KERNEL)?)
    }

    #[test]
    fn agrees_with_a_linear_search() -> Result {
        let mut random = Random(1);
        let mut table = Table::default();
        for round in 0..200 {
            let mut entries = KVVec::new();
            for serial in 0..random.below(20) {
                sorted(
                    &mut entries,
                    Entry::new(random.trigger()?, counter()?, serial),
                )?;
            }
            table.fill(&entries)?;
            for _ in 0..100 {
                let access = random.access()?;
                let covered = entries.iter().any(|entry| covers(&entry.trigger, &access));
                let is_handled = table.handle(&access);
                let mut is_right = is_handled == covered;
                for entry in entries.iter() {
                    let count = entry.signal.load(ordering::Relaxed);
                    entry.signal.store(0, ordering::Relaxed);
                    is_right &= count == u32::from(signals(&entry.trigger, &access));
                }
                if !is_right {
                    pr_err!("round {round}: {:#x} + {}\n", access.address, access.size);
                }
                assert!(is_right);
            }
        }
        Ok(())
    }

    #[test]
    fn ranges_do_not_wrap() {
        let new = |start, len| Trigger::new(Space::Memory, start, len, None);
        assert!(new(u64::MAX - 8, 8).is_ok());
        assert!(new(u64::MAX - 7, 8).is_err());
        assert!(new(u64::MAX, 1).is_err());
        for len in [0, 3, 5, 6, 7, 9, 16, u64::MAX] {
            assert!(new(0, len).is_err());
        }
    }

    #[test]
    fn accesses_at_the_ends_of_the_address_space() -> Result {
        let mut table = Table::default();
        let entry = |start| -> Result<_> {
            let trigger = Trigger::new(Space::Memory, start, 8, None)?;
            Ok(Entry::new(trigger, counter()?, 0))
        };
        let mut entries = KVVec::new();
        sorted(&mut entries, entry(0)?)?;
        sorted(&mut entries, entry(u64::MAX - 8)?)?;
        table.fill(&entries)?;
        for (address, size, expected) in [
            (0, 8, true),
            (7, 1, true),
            (7, 2, false),
            (8, 1, false),
            (u64::MAX - 8, 8, true),
            (u64::MAX - 1, 1, true),
            (u64::MAX, 1, false),
        ] {
            let access = Access {
                space: Space::Memory,
                direction: Direction::Read,
                address,
                size,
            };
            assert_eq!(table.handle(&access), expected);
        }
        Ok(())
    }

    #[test]
    fn data_is_compared_by_the_width_of_the_access() -> Result {
        let trigger = Trigger::new(Space::Port, 0x10, 4, Some(0x1122_3344_5566_7788))?;
        assert!(trigger.data == Some(0x5566_7788));
        assert!(trigger.matches(4, 0x5566_7788));
        assert!(trigger.matches(1, 0xFF88));
        assert!(!trigger.matches(2, 0x88));
        assert!(!trigger.matches(8, 0x5566_7788));
        Ok(())
    }

    #[test]
    fn triggers_conflict_by_start_and_data() -> Result {
        let new = |start, len, data| Trigger::new(Space::Port, start, len, data);
        let one = new(0x10, 4, Some(1))?;
        assert!(one.conflicts(&one));
        assert!(one.conflicts(&new(0x10, 2, Some(1))?));
        assert!(one.conflicts(&new(0x10, 4, None)?));
        assert!(!one.conflicts(&new(0x10, 4, Some(2))?));
        assert!(!one.conflicts(&new(0x10, 4, Some(0x101))?));
        assert!(!one.conflicts(&new(0x11, 4, Some(1))?));
        assert!(!one.conflicts(&Trigger::new(Space::Memory, 0x10, 4, Some(1))?));
        assert!(one.is_named_by(&new(0x10, 4, None)?));
        assert!(!one.is_named_by(&new(0x10, 2, Some(1))?));
        assert!(!new(0x10, 4, None)?.is_named_by(&one));
        Ok(())
    }
}
