// SPDX-License-Identifier: GPL-2.0

//! Hypercalls and other events that mini-ACRN has recorded since a test began.

use acrn_hypercall_abi::MemoryRegion;
use mini_acrn_channel::{Record, kind};
use zerocopy::FromBytes;

use crate::{hypercall, probe::Probe};

/// The trace from a position on.
pub struct Trace<'a> {
    probe: &'a Probe,
    from: u64,
}

impl<'a> Trace<'a> {
    /// Starts with the next record.
    pub fn start(probe: &'a Probe) -> Self {
        let from = probe.trace(u64::MAX).map_or(0, |(header, _)| header.next);
        Self { probe, from }
    }

    /// Returns all records up to now.
    pub fn records(&self) -> Vec<Record> {
        let mut all = Vec::new();
        let (mut next, mut end) = (self.from, None);
        while let Some((header, records)) = self.probe.trace(next)
            && let Some(last) = records.last()
        {
            assert_eq!(
                header.seq, next,
                "the test was too long for mini-ACRN's trace"
            );
            next = last.seq + 1;
            all.extend(records);
            // Records that are added meanwhile are left to the next call: there may be no end of
            // them.
            if next >= *end.get_or_insert(header.next) {
                break;
            }
        }
        all
    }

    /// Returns the events of one kind.
    pub fn events(&self, kind: u16) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.kind == kind);
        records
    }

    /// Returns the hypercalls with one number.
    pub fn calls(&self, id: u32) -> Vec<Record> {
        let mut records = self.events(kind::HYPERCALL);
        records.retain(|record| record.id == id);
        records
    }

    /// Returns the numbers of all hypercalls.
    pub fn ids(&self) -> Vec<u32> {
        self.events(kind::HYPERCALL)
            .iter()
            .map(|record| record.id)
            .collect()
    }

    /// Returns all entries of SET_MEMORY_REGIONS that were carried out.
    pub fn regions(&self) -> Vec<MemoryRegion> {
        self.events(kind::MEMORY_REGION)
            .iter()
            .filter(|record| record.result == 0)
            .map(parameter)
            .collect()
    }

    /// Panics if there was a hypercall.
    #[track_caller]
    pub fn assert_no_hypercalls(&self) {
        let names: Vec<_> = self.ids().into_iter().map(hypercall::name).collect();
        assert!(names.is_empty(), "expected no hypercalls, got {names:?}");
    }

    /// Panics if a vCPU was woken without reason, or failed.
    #[track_caller]
    pub fn assert_sane(&self) {
        for record in self.records() {
            assert_ne!(
                record.kind,
                kind::REQUEST_WEDGED,
                "spurious NOTIFY_REQUEST_FINISH for vCPU {} of VM {}",
                record.p1,
                record.vmid
            );
            assert_ne!(
                record.kind,
                kind::VCPU_FAILED,
                "vCPU {} of VM {} failed: exit {:#x} at {:#x}",
                record.p1,
                record.vmid,
                record.p2,
                record.result
            );
        }
    }
}

/// Returns the structure in a record.
pub fn parameter<T: FromBytes>(record: &Record) -> T {
    let bytes = &record.data[..record.data_len as usize];
    match T::read_from_prefix(bytes) {
        Ok((value, _)) => value,
        Err(_) => panic!("record {} holds {} bytes", record.seq, bytes.len()),
    }
}
