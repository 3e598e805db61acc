// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The doorbells of a device: for each queue an ioeventfd at the address to which the guest writes
//! to notify the device. They follow the BAR.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::wires::{DOORBELL, Wires};

struct Doorbell {
    event: EventFd,
    /// The address at which the ioeventfd is assigned.
    assigned: Option<u64>,
}

/// One doorbell for each queue.
pub struct Doorbells {
    doorbells: Vec<Doorbell>,
    wires: Arc<dyn Wires>,
    /// The address of the first doorbell.
    place: Option<u64>,
}

impl Doorbells {
    pub fn new(queues: usize, wires: Arc<dyn Wires>) -> io::Result<Self> {
        let doorbells = (0..queues).map(|_| {
            Ok(Doorbell {
                event: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?,
                assigned: None,
            })
        });
        Ok(Doorbells {
            doorbells: doorbells.collect::<io::Result<_>>()?,
            wires,
            place: None,
        })
    }

    /// Assigns the ioeventfds from this address on, or deassigns them.
    pub fn move_to(&mut self, place: Option<u64>) {
        if self.place == place {
            return;
        }
        self.place = place;
        for (doorbell, offset) in self
            .doorbells
            .iter_mut()
            .zip((0..).step_by(DOORBELL as usize))
        {
            if let Some(address) = doorbell.assigned.take()
                && let Err(error) = self.wires.deassign_doorbell(&doorbell.event, address)
            {
                eprintln!("acrn-vmm: cannot deassign the doorbell at {address:#x}: {error}");
            }
            let Some(address) = place.map(|place| place + offset) else {
                continue;
            };
            match self.wires.assign_doorbell(&doorbell.event, address) {
                Ok(()) => doorbell.assigned = Some(address),
                // The guest may have placed two BARs at one address. Its writes then come to this
                // program, or signal the other doorbell.
                Err(error) => eprintln!("acrn-vmm: no doorbell at {address:#x}: {error}"),
            }
        }
    }

    /// Rings a doorbell, for a write of the guest that came to this program, or if the queue may
    /// contain a request.
    pub fn ring(&self, queue: usize) {
        if let Some(doorbell) = self.doorbells.get(queue) {
            // Fails only if the eventfd's counter is at its maximum.
            let _ = doorbell.event.write(1);
        }
    }

    /// Resets a doorbell after it rang.
    pub fn quiet(&self, queue: usize) {
        if let Some(doorbell) = self.doorbells.get(queue) {
            let _ = doorbell.event.read();
        }
    }

    /// Returns the eventfds to wait for, one for each queue.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let events = self.doorbells.iter().map(|doorbell| &doorbell.event);
        events.map(AsRawFd::as_raw_fd).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::wires::fake::FakeWires;
    use super::*;

    #[test]
    fn doorbells_move_and_go() {
        let wires = Arc::new(FakeWires::default());
        let mut doorbells = Doorbells::new(2, wires.clone()).unwrap();
        doorbells.move_to(None);
        assert!(wires.take().is_empty());
        doorbells.move_to(Some(0xc000_1000));
        doorbells.move_to(Some(0xc000_1000));
        assert_eq!(wires.take(), ["doorbell c0001000", "doorbell c0001004"]);
        doorbells.move_to(Some(0xd000_0000));
        assert_eq!(
            wires.take(),
            [
                "no doorbell c0001000",
                "doorbell d0000000",
                "no doorbell c0001004",
                "doorbell d0000004"
            ]
        );
        doorbells.move_to(None);
        assert_eq!(
            wires.take(),
            ["no doorbell d0000000", "no doorbell d0000004"]
        );
        doorbells.ring(2);
        doorbells.ring(1);
        assert_eq!(doorbells.doorbells[1].event.read().unwrap(), 1);
    }
}
