// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The trace: a ring of records. When it is full, a new record replaces the oldest.

use mini_acrn_channel::{RECORD_DATA, Record};

/// The last `N` records.
pub struct Ring<const N: usize> {
    records: [Record; N],
    next: u64,
}

const EMPTY: Record = Record {
    seq: 0,
    time: 0,
    kind: 0,
    vmid: 0,
    id: 0,
    p1: 0,
    p2: 0,
    result: 0,
    data_len: 0,
    scripted: 0,
    data: [0; RECORD_DATA],
};

impl<const N: usize> Ring<N> {
    /// Creates an empty ring.
    pub const fn new() -> Self {
        Self { records: [EMPTY; N], next: 0 }
    }

    /// Returns the sequence number of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds a record with `data`, cut to [`RECORD_DATA`] bytes. `fill` sets the other fields, which
    /// are zero before, except for the sequence number. Bytes of `data` behind `data_len` keep
    /// their old values.
    pub fn push(&mut self, data: &[u8], fill: impl FnOnce(&mut Record)) {
        let slot = &mut self.records[(self.next % N as u64) as usize];
        let len = data.len().min(RECORD_DATA);
        slot.data[..len].copy_from_slice(&data[..len]);
        (slot.seq, slot.data_len) = (self.next, len as u32);
        (slot.time, slot.kind, slot.vmid, slot.id) = (0, 0, 0, 0);
        (slot.p1, slot.p2, slot.result, slot.scripted) = (0, 0, 0, 0);
        fill(slot);
        self.next += 1;
    }

    /// Returns the records from `seq` on that are still in the ring.
    pub fn from(&self, seq: u64) -> impl Iterator<Item = &Record> {
        let first = seq.max(self.next.saturating_sub(N as u64));
        (first..self.next).map(|s| &self.records[(s % N as u64) as usize])
    }
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_records_are_lost() {
        let mut ring = Ring::<4>::new();
        for i in 0..6 {
            ring.push(&[i as u8; 3], |r| r.p1 = i);
        }
        let seqs: Vec<u64> = ring.from(0).map(|r| r.seq).collect();
        assert_eq!(seqs, [2, 3, 4, 5]);
        let last = ring.from(5).next().unwrap();
        assert_eq!((last.p1, last.data_len, &last.data[..3]), (5, 3, &[5; 3][..]));
        assert_eq!(ring.from(6).count(), 0);
        assert_eq!(ring.next(), 6);
    }

    #[test]
    fn long_data_is_cut() {
        let mut ring = Ring::<2>::new();
        ring.push(&[1; 1000], |_| {});
        assert_eq!(ring.from(0).next().unwrap().data_len as usize, RECORD_DATA);
    }
}
