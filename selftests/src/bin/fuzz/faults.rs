// SPDX-License-Identifier: GPL-2.0

//! Hypercalls that fail, or that take a long time.
//!
//! No driver could handle some false results of the hypervisor, so these are left out:
//!
//! - PAUSE_VM fails but was carried out: the driver goes on to notify vCPUs of a paused VM, which
//!   breaks a rule of ACRN.
//! - CREATE_VM fails but was carried out, or returns the id of another VM: the VM is unknown to the
//!   driver, or the wrong one is destroyed.
//! - ASSIGN_PCIDEV fails but was carried out: the driver does not know that the VM has the device.
//! - SET_MEMORY_REGIONS returns -EINVAL without any effect, which stands for pages that are not
//!   mapped: the driver unpins memory that the guest can access.
//! - SET_MEMORY_REGIONS returns -1 after it has changed regions: ACRN returns that only before the
//!   first one, so the driver unpins memory that the guest can access.
//!
//! All results are negative. A positive result would count as success.

use std::{thread, time::Duration};

use acrn_selftests::{hypercall::*, probe::fault};
use mini_acrn_channel::{ANY_VM, Fault};

use crate::actor::Actor;

const RESULTS: [i64; 6] = [-1, -5, -16, -110, -22, i64::MIN];
const EINVAL: i64 = -22;
const EPERM: i64 = -1;

/// Whether a hypercall may fail after it was carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    May,
    Never,
}

const FAULTS: [(u32, After); 15] = [
    (CREATE_VM, After::Never),
    (DESTROY_VM, After::May),
    (START_VM, After::May),
    (PAUSE_VM, After::Never),
    (RESET_VM, After::May),
    (SET_VCPU_REGS, After::May),
    (INJECT_MSI, After::May),
    (SET_IRQLINE, After::May),
    (SET_IOREQ_BUFFER, After::May),
    (NOTIFY_REQUEST_FINISH, After::May),
    (SET_MEMORY_REGIONS, After::May),
    (SET_MEMORY_REGIONS, After::May),
    (SET_MEMORY_REGIONS, After::May),
    (ASSIGN_PCIDEV, After::Never),
    (DEASSIGN_PCIDEV, After::May),
];

/// Hypercalls that may wait: those that are made with interrupts enabled. Their CPU goes on
/// meanwhile.
const HELD: [u32; 7] = [
    CREATE_VM,
    DESTROY_VM,
    START_VM,
    PAUSE_VM,
    RESET_VM,
    SET_VCPU_REGS,
    SET_MEMORY_REGIONS,
];

/// Scripts a fault, or holds a hypercall for a moment.
pub fn script(actor: &mut Actor<'_>) {
    let chance = &mut actor.chance;
    let (id, after) = FAULTS[chance.usize(..FAULTS.len())];
    let result = RESULTS[chance.usize(..RESULTS.len())];
    let is_after = chance.bool() && after == After::May;
    // With any other hypercall a number of entries would let it be carried out.
    let entry = u32::from(id == SET_MEMORY_REGIONS) * chance.u32(..3);
    let is_lie = id == SET_MEMORY_REGIONS
        && match result {
            EINVAL => !is_after,
            EPERM => is_after || entry > 0,
            _ => false,
        };
    let scripted = Fault {
        vmid: ANY_VM,
        after: is_after.into(),
        skip: chance.u32(..3),
        count: chance.u32(1..3),
        entry,
        ..fault(id, if is_lie { -5 } else { result })
    };
    let held = HELD[chance.usize(..HELD.len())];
    let time = Duration::from_micros(chance.u64(..3000));
    let kind = chance.u32(..8);
    let Some(probe) = &actor.probe else { return };
    match kind {
        0..=3 => {
            if !probe.try_push_fault(scripted) {
                probe.clear_faults();
            }
        }
        4 => probe.clear_faults(),
        _ => {
            probe.hold(held, ANY_VM);
            thread::sleep(time);
            probe.release();
        }
    }
    actor.stage.count(true);
}
