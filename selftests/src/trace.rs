// SPDX-License-Identifier: GPL-2.0

//! What reached mini-ACRN since a test began.

use mini_acrn_channel::{Record, kind};
use zerocopy::FromBytes;

use crate::probe::Probe;

/// The trace from some point on.
pub struct Trace<'a> {
    probe: &'a Probe,
    from: u64,
}

/// One entry of a SET_MEMORY_REGIONS call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
pub struct Region {
    /// 0 adds, 2 deletes.
    pub operation: u32,
    /// Access rights and memory type.
    pub attr: u32,
    /// Where it appears in the User VM.
    pub user_vm_pa: u64,
    /// What backs it.
    pub service_vm_pa: u64,
    /// Bytes.
    pub size: u64,
}

impl Region {
    /// `operation` of an entry that maps.
    pub const ADD: u32 = 0;
    /// `operation` of an entry that takes away.
    pub const DELETE: u32 = 2;
}

impl<'a> Trace<'a> {
    /// Starts with what comes next.
    pub fn start(probe: &'a Probe) -> Self {
        let from = probe.trace(u64::MAX).map_or(0, |(header, _)| header.next);
        Self { probe, from }
    }

    /// Everything up to now.
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
            // What comes meanwhile is for the next time: there may be no end of it.
            if next >= *end.get_or_insert(header.next) {
                break;
            }
        }
        all
    }

    /// The events of one kind.
    pub fn events(&self, kind: u16) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.kind == kind);
        records
    }

    /// The hypercalls with one number.
    pub fn calls(&self, id: u32) -> Vec<Record> {
        let mut records = self.events(kind::HYPERCALL);
        records.retain(|record| record.id == id);
        records
    }

    /// Numbers of all hypercalls.
    pub fn ids(&self) -> Vec<u32> {
        self.events(kind::HYPERCALL)
            .iter()
            .map(|record| record.id)
            .collect()
    }

    /// All entries of SET_MEMORY_REGIONS calls that were carried out.
    pub fn regions(&self) -> Vec<Region> {
        self.events(kind::MEMORY_REGION)
            .iter()
            .filter(|record| record.result == 0)
            .map(parameter)
            .collect()
    }

    /// Panics if a vCPU was woken without reason, or failed.
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

/// The structure that a record holds.
pub fn parameter<T: FromBytes>(record: &Record) -> T {
    let bytes = &record.data[..record.data_len as usize];
    match T::read_from_prefix(bytes) {
        Ok((value, _)) => value,
        Err(_) => panic!("record {} holds {} bytes", record.seq, bytes.len()),
    }
}
