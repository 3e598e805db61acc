// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! PCI: bus 0 with a host bridge and the functions of the command line, one for each device.

pub mod config;
pub mod msix;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acrn_ioctls::Width;

use config::{ConfigSpace, Identity};

use crate::memory;

/// The initial address of the BARs, which firmware would choose. The guest may move them.
pub const BARS: u32 = memory::LOW_END as u32;
/// The maximum number of devices beside the host bridge.
pub const MAX_FUNCTIONS: usize = 31;

/// The chip that a guest expects in this kind of machine.
const HOST_BRIDGE: Identity = Identity {
    vendor: 0x8086,
    device: 0x1237,
    class: 0x06_0000,
    revision: 2,
    subsystem_vendor: 0,
    subsystem: 0,
};

/// A function that a guest finds in configuration space and uses through its BAR.
pub trait Function: Send {
    fn read_config(&self, register: u32, width: Width) -> u64;
    fn write_config(&mut self, register: u32, width: Width, value: u64);
    /// Returns `None` if the BAR has another address.
    fn read_memory(&mut self, address: u64, width: Width) -> Option<u64>;
    /// Returns false if the BAR has another address.
    fn write_memory(&mut self, address: u64, width: Width, value: u64) -> bool;
    /// Resets the function to its state after power-on, without an assigned eventfd.
    fn reset(&mut self);
}

/// The bus.
pub struct Bus {
    host_bridge: ConfigSpace,
    /// Device 1 first.
    functions: Vec<Arc<Mutex<dyn Function>>>,
}

impl Bus {
    pub fn new(functions: Vec<Arc<Mutex<dyn Function>>>) -> Self {
        debug_assert!(functions.len() <= MAX_FUNCTIONS);
        Bus {
            host_bridge: ConfigSpace::new(&HOST_BRIDGE),
            functions,
        }
    }

    /// Reads configuration space. Without a function, all bits are ones.
    pub fn read_config(
        &self,
        bus: u32,
        device: u32,
        function: u32,
        register: u32,
        width: Width,
    ) -> u64 {
        if (bus, device, function) == (0, 0, 0) {
            return self.host_bridge.read(register, width);
        }
        match self.function(bus, device, function) {
            Some(function) => function.read_config(register, width),
            None => width.mask(),
        }
    }

    /// Writes configuration space. The host bridge has no writable register.
    pub fn write_config(
        &self,
        bus: u32,
        device: u32,
        function: u32,
        register: u32,
        width: Width,
        value: u64,
    ) {
        if let Some(mut function) = self.function(bus, device, function) {
            function.write_config(register, width, value);
        }
    }

    /// Reads from the BAR with this address, if there is one.
    pub fn read_memory(&self, address: u64, width: Width) -> Option<u64> {
        self.functions
            .iter()
            .find_map(|function| lock(function).read_memory(address, width))
    }

    /// Writes to the BAR with this address; returns false if there is none.
    pub fn write_memory(&self, address: u64, width: Width, value: u64) -> bool {
        self.functions
            .iter()
            .any(|function| lock(function).write_memory(address, width, value))
    }

    /// Resets all functions to their state after power-on.
    pub fn reset(&self) {
        for function in &self.functions {
            lock(function).reset();
        }
    }

    fn function(
        &self,
        bus: u32,
        device: u32,
        function: u32,
    ) -> Option<MutexGuard<'_, dyn Function + 'static>> {
        if (bus, function) != (0, 0) {
            return None;
        }
        let index = (device as usize).checked_sub(1)?;
        self.functions.get(index).map(lock)
    }
}

fn lock<'a>(
    function: &'a Arc<Mutex<dyn Function + 'static>>,
) -> MutexGuard<'a, dyn Function + 'static> {
    function.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Probe(Option<u64>);

    impl Function for Probe {
        fn read_config(&self, register: u32, _: Width) -> u64 {
            register.into()
        }
        fn write_config(&mut self, _: u32, _: Width, value: u64) {
            self.0 = Some(value);
        }
        fn read_memory(&mut self, address: u64, _: Width) -> Option<u64> {
            (self.0 == Some(address)).then_some(5)
        }
        fn write_memory(&mut self, address: u64, _: Width, _: u64) -> bool {
            self.0 == Some(address)
        }
        fn reset(&mut self) {
            self.0 = None;
        }
    }

    fn bus() -> Bus {
        Bus::new(vec![
            Arc::new(Mutex::new(Probe(None))),
            Arc::new(Mutex::new(Probe(None))),
        ])
    }

    #[test]
    fn bridge_in_every_width() {
        let bus = bus();
        let read = |register, width| bus.read_config(0, 0, 0, register, width);
        assert_eq!(read(0, Width::Four), 0x1237_8086);
        assert_eq!(read(0, Width::Two), 0x8086);
        assert_eq!(read(2, Width::Two), 0x1237);
        assert_eq!(read(0xb, Width::One), 0x06);
        assert_eq!(read(0xe, Width::One), 0);
        bus.write_config(0, 0, 0, 0, Width::Four, 0);
        assert_eq!(read(0, Width::Four), 0x1237_8086);
    }

    #[test]
    fn functions_are_where_they_are_and_nowhere_else() {
        let bus = bus();
        assert_eq!(bus.read_config(0, 1, 0, 8, Width::Four), 8);
        assert_eq!(bus.read_config(0, 2, 0, 12, Width::Four), 12);
        assert_eq!(bus.read_config(0, 3, 0, 0, Width::Two), 0xffff);
        assert_eq!(bus.read_config(0, 1, 1, 0, Width::Four), 0xffff_ffff);
        assert_eq!(bus.read_config(1, 1, 0, 0, Width::One), 0xff);
        assert_eq!(bus.read_config(0, u32::MAX, 0, 0, Width::One), 0xff);
    }

    #[test]
    fn memory_access_reaches_its_function() {
        let bus = bus();
        bus.write_config(0, 2, 0, 0x10, Width::Four, 0xc000_0000);
        assert_eq!(bus.read_memory(0xc000_0000, Width::Four), Some(5));
        assert!(bus.write_memory(0xc000_0000, Width::Four, 0));
        assert_eq!(bus.read_memory(0xc000_0001, Width::Four), None);
        bus.reset();
        assert!(!bus.write_memory(0xc000_0000, Width::Four, 0));
    }
}
