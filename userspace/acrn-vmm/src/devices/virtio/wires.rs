// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The eventfds between a virtio device and the driver: doorbells in, interrupts out.

use std::io;
use std::sync::Weak;

use acrn_ioctls::{IoEvent, IoEventAddress, Vm};
use vmm_sys_util::eventfd::EventFd;

/// The distance of doorbells in bytes. A write of up to this length rings a doorbell.
pub const DOORBELL: u32 = 4;

/// Assigns and deassigns the eventfds.
pub trait Wires: Send + Sync {
    /// A write of the guest to this address signals `event` and completes.
    fn assign_doorbell(&self, event: &EventFd, address: u64) -> io::Result<()>;
    fn deassign_doorbell(&self, event: &EventFd, address: u64) -> io::Result<()>;
    /// A signal of `event` injects this message-signalled interrupt.
    fn assign_interrupt(&self, event: &EventFd, address: u64, data: u32) -> io::Result<()>;
    fn deassign_interrupt(&self, event: &EventFd) -> io::Result<()>;
}

fn doorbell(address: u64) -> IoEvent {
    IoEvent {
        address: IoEventAddress::Mmio(address),
        len: DOORBELL,
        datamatch: None,
    }
}

/// The driver. A weak reference, so that the VM can be destroyed while its devices exist.
impl Wires for Weak<Vm> {
    fn assign_doorbell(&self, event: &EventFd, address: u64) -> io::Result<()> {
        let vm = self.upgrade().ok_or(io::ErrorKind::NotFound)?;
        Ok(vm.assign_ioeventfd(event, &doorbell(address))?)
    }

    fn deassign_doorbell(&self, event: &EventFd, address: u64) -> io::Result<()> {
        match self.upgrade() {
            Some(vm) => Ok(vm.deassign_ioeventfd(event, &doorbell(address))?),
            None => Ok(()),
        }
    }

    fn assign_interrupt(&self, event: &EventFd, address: u64, data: u32) -> io::Result<()> {
        let vm = self.upgrade().ok_or(io::ErrorKind::NotFound)?;
        Ok(vm.assign_irqfd(event, address, data.into())?)
    }

    fn deassign_interrupt(&self, event: &EventFd) -> io::Result<()> {
        match self.upgrade() {
            Some(vm) => Ok(vm.deassign_irqfd(event)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub mod fake {
    use super::*;
    use std::sync::Mutex;

    /// Records the calls.
    #[derive(Default)]
    pub struct FakeWires(Mutex<Vec<String>>);

    impl FakeWires {
        /// Returns the calls since the last time.
        pub fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }

        fn note(&self, what: String) -> io::Result<()> {
            self.0.lock().unwrap().push(what);
            Ok(())
        }
    }

    impl Wires for FakeWires {
        fn assign_doorbell(&self, _: &EventFd, address: u64) -> io::Result<()> {
            self.note(format!("doorbell {address:x}"))
        }

        fn deassign_doorbell(&self, _: &EventFd, address: u64) -> io::Result<()> {
            self.note(format!("no doorbell {address:x}"))
        }

        fn assign_interrupt(&self, _: &EventFd, address: u64, data: u32) -> io::Result<()> {
            self.note(format!("interrupt {address:x} {data:x}"))
        }

        fn deassign_interrupt(&self, _: &EventFd) -> io::Result<()> {
            self.note("no interrupt".into())
        }
    }
}
