// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Passed-through and virtual devices: checks and books. The machine has none to give.

use crate::phys;
use crate::vm::{self, Device};
use alloc::vec;
use mini_acrn_channel::vm_state::{CREATED, PAUSED};
use mini_acrn_logic::errno::{Errno, Result};

/// Devices that a VM may have.
const MAX_DEVICES: usize = 64;
/// `ACRN_PTDEV_IRQ_INTX`.
const INTX: u8 = 0;

/// How a pair of hypercalls names a device.
struct Kind {
    /// Number of the one that adds; the next higher one removes.
    add: u8,
    /// Bytes of its structure.
    size: usize,
    /// The bytes of it that name the device.
    key: core::ops::Range<usize>,
    /// Structure can't be read.
    unreadable: Errno,
    /// Nothing to remove.
    missing: Errno,
}

const KINDS: [Kind; 4] = [
    // Interrupt: type, both addresses, virtual pin.
    Kind { add: 0x53, size: 24, key: 0..12, unreadable: Errno::GENERIC, missing: Errno::GENERIC },
    // PCI device: both addresses.
    Kind { add: 0x55, size: 36, key: 4..8, unreadable: Errno::FAULT, missing: Errno::NODEV },
    // MMIO device: name.
    Kind { add: 0x57, size: 104, key: 0..8, unreadable: Errno::INVAL, missing: Errno::INVAL },
    // Virtual device: id and slot.
    Kind { add: 0x59, size: 192, key: 0..16, unreadable: Errno::INVAL, missing: Errno::INVAL },
];

/// Adds or removes a device.
pub fn change(number: u8, vmid: u64, gpa: u64) -> Result {
    let vm = vm::get(vmid)?;
    let kind = KINDS.iter().rfind(|k| k.add <= number).ok_or(Errno::NOTTY)?;
    let add = number == kind.add;
    vm.require(if add { &[CREATED] } else { &[CREATED, PAUSED] })?;
    let mut bytes = vec![0; kind.size];
    if !phys::is_service_ram(gpa, kind.size as u64) || phys::read_bytes(gpa, &mut bytes).is_none() {
        return Err(kind.unreadable);
    }
    if kind.add == 0x53 && bytes[0] != INTX {
        return Err(Errno::GENERIC);
    }
    let device = Device { id: kind.add.into(), key: bytes[kind.key.clone()].to_vec() };
    let devices = &mut vm.book.lock().devices;
    let found = devices.iter().position(|d| *d == device);
    match (add, found) {
        (true, None) if devices.len() < MAX_DEVICES => devices.push(device),
        (true, _) => return Err(Errno::INVAL),
        (false, Some(i)) => drop(devices.remove(i)),
        (false, None) => return Err(kind.missing),
    }
    Ok(())
}
