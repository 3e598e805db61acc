// SPDX-License-Identifier: GPL-2.0

//! Converts hypercalls to text that is the same in every run. Placeholders replace addresses.

use std::iter;

use acrn_hypercall_abi::MemoryRegion;
use acrn_selftests::{hypercall::*, trace::parameter};
use mini_acrn_channel::{Record, kind};
use nix::errno::Errno;

/// The placeholder for an address in the Service VM's memory.
const SOMEWHERE: &str = "PAGE";
/// The lowest address of devices in the Service VM. Source addresses from here on are printed
/// unchanged.
const DEVICES: u64 = 0xc000_0000;

/// The bytes of `ioreq_buf` of CREATE_VM, which is an address of user space.
const REQUEST_PAGE: std::ops::Range<usize> = 32..40;
/// The size of `acrn_ptdev_irq`. The bytes that the hypervisor reads beyond it have a case of their
/// own.
const LINE_SIZE: usize = 20;

/// Returns all hypercalls among `records`, with their parameters and results. Merges successive
/// calls of SET_MEMORY_REGIONS that succeed.
pub fn calls(records: &[Record]) -> String {
    let of_kind = |kind| records.iter().filter(move |record| record.kind == kind);
    let calls: Vec<_> = of_kind(kind::HYPERCALL).collect();
    let mut lines = Vec::new();
    let mut begin = 0;
    for calls in calls.chunk_by(|a, b| is_mapping(a) && is_mapping(b)) {
        let (first, end) = (calls[0], calls[calls.len() - 1].seq);
        // mini-ACRN records entries before their call.
        let entries =
            of_kind(kind::MEMORY_REGION).filter(|entry| (begin..end).contains(&entry.seq));
        let arguments = arguments(first, &entries.collect::<Vec<_>>());
        lines.push(format!(
            "{}({arguments})={}",
            name(first.id),
            result(first.result)
        ));
        begin = end;
    }
    lines.join("; ")
}

fn is_mapping(call: &Record) -> bool {
    call.id == SET_MEMORY_REGIONS && call.result == 0
}

fn result(value: i64) -> String {
    match i32::try_from(-value) {
        Ok(errno @ 1..) => format!("{:?}", Errno::from_raw(errno)),
        _ => value.to_string(),
    }
}

fn arguments(record: &Record, regions: &[&Record]) -> String {
    let data = &record.data[..record.data_len as usize];
    match record.id {
        CREATE_VM => {
            let mut data = data.to_vec();
            // mini-ACRN records the parameter before the call.
            data[REQUEST_PAGE].fill(0);
            hex(&data)
        }
        SET_MEMORY_REGIONS => {
            let reserved = [&data[2..8], &data[12..16]].concat();
            let vm = u16::from_le_bytes([data[0], data[1]]);
            let listed = merged(regions).join(", ");
            match reserved.iter().all(|byte| *byte == 0) {
                true => format!("VM {vm}: {listed}"),
                false => format!("VM {vm}, reserved {}: {listed}", hex(&reserved)),
            }
        }
        SET_IOREQ_BUFFER => format!("{}, {SOMEWHERE}", record.p1),
        SET_PTDEV_INTR | RESET_PTDEV_INTR => {
            format!("{}, {}", record.p1, hex(&data[..LINE_SIZE.min(data.len())]))
        }
        PM_GET_CPU_STATE => format!("{:#x}, {SOMEWHERE}", record.p1),
        SET_IRQLINE | NOTIFY_REQUEST_FINISH => format!("{}, {:#x}", record.p1, record.p2),
        _ if data.is_empty() => format!("{}", record.p1),
        _ => format!("{}, {}", record.p1, hex(data)),
    }
}

/// Merges adjacent entries, because physical contiguity is random.
fn merged(records: &[&Record]) -> Vec<String> {
    let mut entries: Vec<(MemoryRegion, i64)> = Vec::new();
    for record in records {
        let mut region: MemoryRegion = parameter(record);
        if region.service_vm_pa < DEVICES {
            region.service_vm_pa = 0;
        }
        match entries.last_mut() {
            Some((last, last_result))
                if continues(last, &region) && *last_result == record.result =>
            {
                last.size += region.size;
            }
            _ => entries.push((region, record.result)),
        }
    }
    let lines = entries.iter().map(|(region, value)| {
        let operation = match region.type_ {
            MemoryRegion::ADD => "add",
            MemoryRegion::DELETE => "delete",
            _ => "?",
        };
        let source = match region.service_vm_pa {
            0 => String::new(),
            device => format!(" from {device:#x}"),
        };
        let result = match value {
            0 => String::new(),
            value => format!(" {}", result(*value)),
        };
        format!(
            "{operation} {:#x}+{:#x} attr {:#x}{source}{result}",
            region.user_vm_pa, region.size, region.attr
        )
    });
    lines.collect()
}

fn continues(last: &MemoryRegion, next: &MemoryRegion) -> bool {
    last.service_vm_pa == 0
        && next.service_vm_pa == 0
        && (last.type_, last.attr) == (next.type_, next.attr)
        && last.user_vm_pa.checked_add(last.size) == Some(next.user_vm_pa)
}

/// Returns the number of bytes, and the bytes up to the last one that is not zero.
pub fn hex(bytes: &[u8]) -> String {
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let digits = bytes[..used].iter().map(|byte| format!("{byte:02x}"));
    iter::once(format!("{}:", bytes.len()))
        .chain(digits)
        .collect()
}

/// Returns the bytes that changed, with their new values.
pub fn changes(before: &[u8], after: &[u8]) -> String {
    let changed: Vec<usize> = (0..before.len())
        .filter(|&at| before[at] != after[at])
        .collect();
    let runs = changed.chunk_by(|a, b| a + 1 == *b).map(|run| {
        let digits: String = run.iter().map(|&at| format!("{:02x}", after[at])).collect();
        format!("{}:{digits}", run[0])
    });
    runs.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn record(kind: u16, id: u32, data: &[u8]) -> Record {
        let mut record = Record::new_zeroed();
        (record.kind, record.id, record.p1) = (kind, id, 1);
        record.data[..data.len()].copy_from_slice(data);
        record.data_len = data.len() as u32;
        record
    }

    fn region(guest: u64, source: u64) -> Record {
        let words = [0x47 << 32, guest, source, 0x1000].map(u64::to_le_bytes);
        record(kind::MEMORY_REGION, 0, &words.concat())
    }

    #[test]
    fn regions_are_merged_and_addresses_replaced() {
        let mut header = [0; 24];
        header[0] = 1;
        let mut records = [
            region(0x1000, 0x7000),
            record(kind::HYPERCALL, SET_MEMORY_REGIONS, &header),
            region(0x2000, 0x3000),
            region(0x4000, 0xfed0_0000),
            record(kind::HYPERCALL, SET_MEMORY_REGIONS, &header),
        ];
        for (seq, record) in (7..).zip(&mut records) {
            record.seq = seq;
        }
        assert_eq!(
            calls(&records),
            "SET_MEMORY_REGIONS(VM 1: add 0x1000+0x2000 attr 0x47, \
             add 0x4000+0x1000 attr 0x47 from 0xfed00000)=0"
        );
    }

    #[test]
    fn errors_have_names() {
        let mut start = record(kind::HYPERCALL, START_VM, &[]);
        start.result = -1;
        assert_eq!(calls(&[start]), "START_VM(1)=EPERM");
    }

    #[test]
    fn bytes() {
        assert_eq!(hex(&[1, 0xab, 0, 0]), "4:01ab");
        assert_eq!(hex(&[0; 3]), "3:");
        assert_eq!(changes(&[0, 0, 0, 0], &[0, 1, 2, 0]), "1:0102");
        assert_eq!(changes(&[0, 0, 0, 0], &[1, 0, 0, 2]), "0:01 3:02");
    }
}
