// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The loop that waits for I/O requests, has the devices serve them, and completes them.

use std::sync::atomic::{AtomicBool, Ordering};

use acrn_ioctls::{RequestPage, Slot, Vm};

use crate::devices::{Demand, Devices, Outcome};
use crate::error::{Context, Result};

/// The reason for the end of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A demand of the guest.
    Demand(Demand),
    /// `stop` was set.
    Stopped,
}

/// Serves requests until the guest powers off or resets, or until `stop` is set and a signal has
/// interrupted the wait.
///
/// A request that demands an end is not completed, as its vCPU must not continue.
pub fn serve(vm: &Vm, page: &RequestPage, devices: &mut Devices, stop: &AtomicBool) -> Result<End> {
    loop {
        match vm.attach_ioreq_client() {
            Ok(()) => {}
            Err(_) if stop.load(Ordering::Acquire) => return Ok(End::Stopped),
            Err(error) => return Err(error).context(|| "waiting for I/O requests"),
        }
        if stop.load(Ordering::Acquire) {
            return Ok(End::Stopped);
        }
        for (vcpu, slot) in page.slots() {
            if !slot.is_ours() {
                continue;
            }
            if let Some(demand) = answer(&slot, devices) {
                return Ok(End::Demand(demand));
            }
            vm.notify_request_finish(vcpu)
                .context(|| format!("completing an I/O request of vCPU {vcpu}"))?;
        }
    }
}

/// Has the devices serve the request in the slot.
fn answer(slot: &Slot<'_>, devices: &mut Devices) -> Option<Demand> {
    match slot.request() {
        Ok(request) => match devices.serve(&request) {
            Outcome::Value(value) => slot.answer(value),
            Outcome::Done => {}
            Outcome::Demand(demand) => return Some(demand),
        },
        // No hypervisor creates such a request, but the vCPU waits for its completion.
        Err(malformed) => {
            eprintln!("acrn-vmm: {malformed}");
            slot.answer(u64::MAX);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::pci::Bus;
    use crate::devices::serial::SerialPort;
    use acrn_ioctls::uapi::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    fn devices() -> Devices {
        let serial = SerialPort::new(Box::new(|| Ok(())), Box::new(io::sink()), Box::new(|| ()));
        Devices::new(
            Arc::new(Mutex::new(serial)),
            Arc::new(Bus::new(Vec::new())),
            false,
        )
    }

    #[test]
    fn answers_end_up_in_the_slot() {
        let page = RequestPage::new().unwrap();
        let slot = page.slot(2).unwrap();
        slot.fill(ACRN_IOREQ_TYPE_PORTIO, ACRN_IOREQ_DIR_READ, 0x1234, 2, 0);
        assert_eq!(answer(&slot, &mut devices()), None);
        assert_eq!(slot.request().unwrap().value, 0xffff);
    }

    #[test]
    fn malformed_requests_are_answered() {
        let page = RequestPage::new().unwrap();
        let slot = page.slot(0).unwrap();
        slot.fill(77, ACRN_IOREQ_DIR_READ, 0, 3, 0);
        assert_eq!(answer(&slot, &mut devices()), None);
    }

    #[test]
    fn demands_come_through() {
        let page = RequestPage::new().unwrap();
        let slot = page.slot(0).unwrap();
        slot.fill(ACRN_IOREQ_TYPE_PORTIO, ACRN_IOREQ_DIR_WRITE, 0x64, 1, 0xfe);
        assert_eq!(answer(&slot, &mut devices()), Some(Demand::Reset));
    }
}
