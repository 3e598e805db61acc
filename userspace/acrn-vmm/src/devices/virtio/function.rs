// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A virtio device as a PCI function: the layout of its registers, and the effects of writes.
//!
//! The lock of the function is held while a queue is served. An access of the guest to the device's
//! registers waits for that long.

use std::os::fd::RawFd;
use std::sync::Arc;

use acrn_ioctls::Width;
use vm_memory::GuestMemoryMmap;

use super::doorbells::Doorbells;
use super::transport::{self, Change, Transport};
use super::wires::{DOORBELL, Wires};
use super::{COMMON_FEATURES, Device, Service};
use crate::devices::pci;
use crate::devices::pci::config::{ConfigSpace, Identity};
use crate::devices::pci::msix::{self, Msix};
use crate::error::{Context, Result};

/// The size of BAR 0 in bytes, and the offsets of the registers in it.
pub const BAR: u32 = 0x4000;
const COMMON: u32 = 0;
const ISR: u32 = 0x100;
const DEVICE: u32 = 0x200;
const DEVICE_END: u32 = 0x1000;
const DOORBELLS: u32 = 0x1000;
const TABLE: u32 = 0x2000;
const PENDING: u32 = 0x3000;

const VENDOR: u16 = 0x1af4;
/// The PCI device id is this value plus the device's number in the virtio specification.
const FIRST_DEVICE: u16 = 0x1040;

/// A vendor-specific capability: here, the location of a group of registers.
const CAPABILITY: u8 = 9;
const KIND_COMMON: u8 = 1;
const KIND_DOORBELLS: u8 = 2;
const KIND_ISR: u8 = 3;
const KIND_DEVICE: u8 = 4;

/// The function.
pub struct Function<D> {
    space: ConfigSpace,
    power_on: ConfigSpace,
    msix_capability: usize,
    msix: Msix,
    doorbells: Doorbells,
    transport: Transport,
    memory: GuestMemoryMmap,
    device: D,
    name: String,
}

impl<D: Device> Function<D> {
    /// Returns the function for PCI device `number`, which starts at 1.
    pub fn new(
        device: D,
        name: String,
        number: u32,
        memory: GuestMemoryMmap,
        wires: Arc<dyn Wires>,
    ) -> Result<Self> {
        let doing = || format!("making {name}");
        let queues = D::QUEUES.len();
        let msix = Msix::new(queues + 1, wires.clone()).context(doing)?;
        let doorbells = Doorbells::new(queues, wires).context(doing)?;
        let offered = COMMON_FEATURES | device.features();
        let transport = Transport::new(offered, D::QUEUES).context(doing)?;
        let mut space = ConfigSpace::new(&Identity {
            vendor: VENDOR,
            device: FIRST_DEVICE + D::ID,
            class: D::CLASS,
            revision: 1,
            subsystem_vendor: VENDOR,
            subsystem: FIRST_DEVICE + D::ID,
        });
        space.add_bar(pci::BARS + (number - 1) * BAR, BAR);
        let config = device.config().len() as u32;
        let doorbell_bytes = queues as u32 * DOORBELL;
        add_registers(&mut space, KIND_COMMON, COMMON, transport::SIZE as u32, &[]);
        add_registers(&mut space, KIND_ISR, ISR, 1, &[]);
        add_registers(&mut space, KIND_DEVICE, DEVICE, config, &[]);
        let distance = DOORBELL.to_le_bytes();
        add_registers(
            &mut space,
            KIND_DOORBELLS,
            DOORBELLS,
            doorbell_bytes,
            &distance,
        );
        let msix_capability = msix.add_capability(&mut space, TABLE, PENDING);
        Ok(Function {
            power_on: space.clone(),
            space,
            msix_capability,
            msix,
            doorbells,
            transport,
            memory,
            device,
            name,
        })
    }

    /// Returns the name of the device for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the virtio device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Returns the eventfds to wait for: a doorbell for each queue.
    pub fn doorbells(&self) -> Vec<RawFd> {
        self.doorbells.descriptors()
    }

    /// Handles a ring of a doorbell.
    pub fn answer(&mut self, queue: usize) {
        self.doorbells.quiet(queue);
        self.serve(queue);
    }

    /// Serves a queue, if the guest has set it up.
    pub fn serve(&mut self, index: usize) {
        if !self.transport.runs() {
            return;
        }
        let Some((queue, vector)) = self.transport.queue(index) else {
            return;
        };
        match self.device.serve(index, queue, &self.memory) {
            Ok(Service::Silent) => {}
            Ok(Service::Interrupt) => self.msix.signal(vector),
            Err(error) => {
                eprintln!("acrn-vmm: {}: queue {index}: {error}", self.name);
                let vector = self.transport.stop();
                self.msix.signal(vector);
            }
        }
    }

    /// Returns the offset of the access in the BAR.
    fn offset(&self, address: u64, width: Width) -> Option<u32> {
        let offset = address.checked_sub(self.space.bar()?)?;
        (offset <= u64::from(BAR) - width.bytes()).then_some(offset as u32)
    }

    /// Assigns the doorbells while the guest has a driver for the device.
    fn place_doorbells(&mut self) {
        let bar = self.space.bar().filter(|_| self.transport.runs());
        self.doorbells
            .move_to(bar.map(|bar| bar + u64::from(DOORBELLS)));
    }

    fn write_register(&mut self, offset: u32, width: Width, value: u64) {
        let bytes = &value.to_le_bytes()[..width.bytes() as usize];
        match offset {
            COMMON..ISR => {
                let offset = u64::from(offset - COMMON);
                let change = self.transport.write(offset, width, value, &self.memory);
                self.follow(change);
            }
            DOORBELLS..TABLE => self
                .doorbells
                .ring(((offset - DOORBELLS) / DOORBELL) as usize),
            TABLE..PENDING => self.msix.write_table((offset - TABLE).into(), bytes),
            // The other registers are read-only.
            _ => {}
        }
    }

    fn follow(&mut self, change: Change) {
        match change {
            Change::None => return,
            Change::Reset => self.msix.disarm(),
            Change::Started => self.device.start(self.transport.features()),
        }
        self.place_doorbells();
        if change == Change::Started {
            // Both sides may have filled the queue already.
            (0..D::QUEUES.len()).for_each(|queue| self.doorbells.ring(queue));
        }
    }

    fn read_register(&self, offset: u32, width: Width) -> u64 {
        if (COMMON..ISR).contains(&offset) {
            return self.transport.read((offset - COMMON).into(), width);
        }
        let byte = |offset: u32| match offset {
            // The interrupt status is always 0, as the interrupt line is never used.
            ISR..DEVICE => 0,
            DEVICE..DEVICE_END => {
                let at = (offset - DEVICE) as usize;
                self.device.config().get(at).copied().unwrap_or(0)
            }
            TABLE..PENDING => self.msix.read_table((offset - TABLE).into()),
            PENDING..BAR => self.msix.read_pending((offset - PENDING).into()),
            _ => 0,
        };
        (0..width.bytes() as u32).fold(0, |value, n| value | u64::from(byte(offset + n)) << (8 * n))
    }
}

/// Adds the capability with the location of a group of registers in BAR 0.
fn add_registers(space: &mut ConfigSpace, kind: u8, offset: u32, len: u32, more: &[u8]) {
    let mut body = vec![16 + more.len() as u8, kind, 0, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(len.to_le_bytes());
    body.extend(more);
    space.add_capability(CAPABILITY, &body);
}

impl<D: Device> pci::Function for Function<D> {
    fn read_config(&self, register: u32, width: Width) -> u64 {
        self.space.read(register, width)
    }

    fn write_config(&mut self, register: u32, width: Width, value: u64) {
        self.space.write(register, width, value);
        self.msix.control(&self.space, self.msix_capability);
        self.place_doorbells();
    }

    fn read_memory(&mut self, address: u64, width: Width) -> Option<u64> {
        let offset = self.offset(address, width)?;
        Some(self.read_register(offset, width))
    }

    fn write_memory(&mut self, address: u64, width: Width, value: u64) -> bool {
        let Some(offset) = self.offset(address, width) else {
            return false;
        };
        self.write_register(offset, width, value);
        true
    }

    fn reset(&mut self) {
        self.transport.reset();
        self.msix.reset();
        self.space = self.power_on.clone();
        self.place_doorbells();
    }
}

const _: () = assert!(TABLE as u64 + msix::ENTRY * 8 <= PENDING as u64);

#[cfg(test)]
mod tests {
    use super::super::wires::fake::FakeWires;
    use super::super::{Broken, Service};
    use super::*;
    use crate::devices::pci::Function as _;
    use virtio_queue::Queue;
    use vm_memory::GuestAddress;

    const AT: u64 = 0xc000_4000;
    const CONTROL: u32 = 0x40 + 3 * 16 + 20 + 2;

    struct Probe(Vec<usize>, bool);

    impl Device for Probe {
        const ID: u16 = 42;
        const CLASS: u32 = 0xff_0000;
        const QUEUES: &'static [u16] = &[16, 16];

        fn features(&self) -> u64 {
            0
        }
        fn config(&self) -> &[u8] {
            b"config"
        }
        fn start(&mut self, _: u64) {}
        fn serve(
            &mut self,
            index: usize,
            _: &mut Queue,
            _: &GuestMemoryMmap,
        ) -> std::result::Result<Service, Broken> {
            self.0.push(index);
            match self.1 {
                true => Err(virtio_queue::Error::InvalidChain.into()),
                false => Ok(Service::Interrupt),
            }
        }
    }

    struct Rig(Function<Probe>, Arc<FakeWires>);

    impl Rig {
        fn new() -> Self {
            let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10_0000)]).unwrap();
            let wires = Arc::new(FakeWires::default());
            let probe = Probe(Vec::new(), false);
            let function = Function::new(probe, "probe".into(), 2, memory, wires.clone()).unwrap();
            let mut rig = Rig(function, wires);
            rig.0.write_config(4, Width::Two, 6);
            rig
        }

        fn write(&mut self, offset: u64, width: Width, value: u64) {
            assert!(self.0.write_memory(AT + offset, width, value));
        }

        fn read(&mut self, offset: u64, width: Width) -> u64 {
            self.0.read_memory(AT + offset, width).unwrap()
        }

        /// Initialises the device like a driver.
        fn start(&mut self) {
            self.0.write_config(CONTROL, Width::Two, 0x8000);
            self.write(0x2010, Width::Eight, 0xfee0_0000);
            self.write(0x2018, Width::Eight, 0x41);
            self.write(8, Width::Four, 1);
            self.write(0xc, Width::Four, 1);
            self.write(0x14, Width::One, 0xb);
            self.write(0x16, Width::Two, 0);
            self.write(0x1a, Width::Two, 1);
            for (register, address) in [(0x20, 0x1000), (0x28, 0x2000), (0x30, 0x3000)] {
                self.write(register, Width::Eight, address);
            }
            self.write(0x1c, Width::Two, 1);
            self.write(0x14, Width::One, 0xf);
        }
    }

    #[test]
    fn capabilities_lead_to_the_registers() {
        let rig = Rig::new();
        let byte = |at: u32| rig.0.read_config(at, Width::One) as u8;
        let (mut at, mut seen) = (u32::from(byte(0x34)), Vec::new());
        while at != 0 {
            let offset = rig.0.read_config(at + 8, Width::Four);
            seen.push((byte(at), byte(at + 3), offset));
            at = byte(at + 1).into();
        }
        let expected = [(9, 1, 0), (9, 3, 0x100), (9, 4, 0x200), (9, 2, 0x1000)];
        assert_eq!(seen[..4], expected);
        assert_eq!((seen[4].0, seen[4].2), (0x11, 0x3000));
        assert_eq!(rig.0.read_config(0, Width::Four), 0x106a_1af4);
    }

    #[test]
    fn device_configuration_is_readable_in_every_width() {
        let mut rig = Rig::new();
        assert_eq!(rig.read(0x200, Width::Two), 0x6f63);
        assert_eq!(rig.read(0x204, Width::Four), 0x6769);
        assert_eq!(rig.read(0x205, Width::One), 0x67);
    }

    #[test]
    fn doorbells_are_there_while_the_driver_is() {
        let mut rig = Rig::new();
        assert!(rig.1.take().is_empty());
        rig.start();
        assert_eq!(rig.1.take(), ["doorbell c0005000", "doorbell c0005004"]);
        // The BAR moves while decoding is disabled, as drivers do it.
        rig.0.write_config(4, Width::Two, 0);
        rig.0.write_config(0x10, Width::Four, 0xd000_0000);
        assert_eq!(rig.0.read_memory(AT, Width::Four), None);
        rig.0.write_config(4, Width::Two, 6);
        assert_eq!(
            rig.1.take(),
            [
                "no doorbell c0005000",
                "no doorbell c0005004",
                "doorbell d0001000",
                "doorbell d0001004"
            ]
        );
        assert!(rig.0.write_memory(0xd000_0014, Width::One, 0));
        assert_eq!(rig.1.take().len(), 2);
        assert_eq!(rig.0.read_memory(0xd000_0014, Width::One), Some(0));
    }

    #[test]
    fn queues_are_served_and_interrupt() {
        let mut rig = Rig::new();
        rig.0.answer(0);
        rig.start();
        rig.1.take();
        rig.0.answer(0);
        // Never set up.
        rig.0.answer(1);
        rig.0.answer(2);
        assert_eq!(rig.0.device().0, [0]);
        assert_eq!(rig.1.take(), ["interrupt fee00000 41"]);
        rig.0.reset();
        assert_eq!(rig.1.take().len(), 3);
        rig.0.answer(0);
        assert_eq!(rig.0.device().0, [0]);
        assert_eq!(rig.0.read_memory(AT, Width::One), None);
    }

    #[test]
    fn broken_queues_stop_the_device_until_it_is_reset() {
        let mut rig = Rig::new();
        rig.start();
        rig.0.device().1 = true;
        rig.0.answer(0);
        assert_eq!(rig.read(0x14, Width::One), 0x4f);
        rig.0.answer(0);
        assert_eq!(rig.0.device().0, [0]);
        rig.write(0x14, Width::One, 0);
        rig.0.device().1 = false;
        rig.start();
        rig.0.answer(0);
        assert_eq!(rig.0.device().0, [0, 0]);
    }

    #[test]
    fn every_place_takes_every_width() {
        let mut rig = Rig::new();
        rig.start();
        for offset in 0..u64::from(BAR) {
            for width in [Width::One, Width::Two, Width::Four, Width::Eight] {
                let inside = offset + width.bytes() <= u64::from(BAR);
                assert_eq!(rig.0.read_memory(AT + offset, width).is_some(), inside);
                assert_eq!(rig.0.write_memory(AT + offset, width, u64::MAX), inside);
            }
        }
    }
}
