// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The emulated devices, and the dispatch of requests to them.
//!
//! All devices have 8-bit registers, or registers that may be accessed in parts. So a wide access
//! to ports is a series of narrow ones. Without a device, a read returns all ones and a write has
//! no effect.

pub mod cmos;
pub mod pci;
pub mod pm;
pub mod pm_timer;
pub mod reset;
pub mod serial;
mod unbacked;
pub mod virtio;

use std::sync::{Arc, Mutex, PoisonError};

use acrn_ioctls::{Direction, Request, Target};

use cmos::Cmos;
use pci::Bus;
use pm::PowerManagement;
use pm_timer::PmTimer;
use serial::SerialPort;
use unbacked::Unbacked;

/// A demand of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    PowerOff,
    Reset,
}

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A read, with its value.
    Value(u64),
    /// A write.
    Done,
    /// A write that ends the run of the guest. Its vCPU must not continue.
    Demand(Demand),
}

/// All devices of the VM.
pub struct Devices {
    serial: Arc<Mutex<SerialPort>>,
    cmos: Cmos,
    pm: PowerManagement,
    pm_timer: PmTimer,
    pci: Arc<Bus>,
    unbacked: Unbacked,
}

impl Devices {
    /// Returns the devices in their state after power-on. The serial port is shared with its source
    /// of input.
    pub fn new(serial: Arc<Mutex<SerialPort>>, pci: Arc<Bus>, report_unbacked: bool) -> Self {
        Devices {
            serial,
            cmos: Cmos::default(),
            pm: PowerManagement::default(),
            pm_timer: PmTimer::default(),
            pci,
            unbacked: Unbacked::new(report_unbacked),
        }
    }

    /// Resets all devices except the serial port to their state after power-on.
    pub fn reset(&mut self) {
        self.cmos = Cmos::default();
        self.pm = PowerManagement::default();
        self.pci.reset();
    }

    /// Serves a request.
    pub fn serve(&mut self, request: &Request) -> Outcome {
        match request.target {
            Target::Port(port) => self.serve_port(port, request),
            Target::Memory(address) => self.serve_memory(address, request),
            Target::PciConfig {
                bus,
                device,
                function,
                register,
            } => match request.direction {
                Direction::Read => {
                    let width = request.width;
                    let value = self.pci.read_config(bus, device, function, register, width);
                    Outcome::Value(value)
                }
                Direction::Write => {
                    let (width, value) = (request.width, request.value);
                    self.pci
                        .write_config(bus, device, function, register, width, value);
                    Outcome::Done
                }
            },
        }
    }

    fn serve_memory(&mut self, address: u64, request: &Request) -> Outcome {
        let outcome = match request.direction {
            Direction::Read => {
                let value = self.pci.read_memory(address, request.width);
                value.map(Outcome::Value)
            }
            Direction::Write => {
                let (width, value) = (request.width, request.value);
                let taken = self.pci.write_memory(address, width, value);
                taken.then_some(Outcome::Done)
            }
        };
        outcome.unwrap_or_else(|| {
            self.unbacked.report("address", address);
            nothing(request)
        })
    }

    fn serve_port(&mut self, first: u16, request: &Request) -> Outcome {
        let ports = (0..request.width.bytes() as u16).map(|offset| first.wrapping_add(offset));
        match request.direction {
            Direction::Read => {
                let mut value = [0; 8];
                for (byte, port) in value.iter_mut().zip(ports) {
                    *byte = self.read_port(port);
                }
                Outcome::Value(u64::from_le_bytes(value))
            }
            Direction::Write => {
                for (port, byte) in ports.zip(request.value.to_le_bytes()) {
                    if let Some(demand) = self.write_port(port, byte) {
                        return Outcome::Demand(demand);
                    }
                }
                Outcome::Done
            }
        }
    }

    fn read_port(&mut self, port: u16) -> u8 {
        match port {
            serial::FIRST..=serial::LAST => {
                self.serial_port(|serial| serial.read(port - serial::FIRST))
            }
            cmos::INDEX | cmos::DATA => self.cmos.read(port, cmos::now),
            pm::FIRST..=pm::LAST => self.pm.read(port),
            pm_timer::FIRST..=pm_timer::LAST => self.pm_timer.read(port),
            reset::KEYBOARD_DATA | reset::KEYBOARD_COMMAND | reset::RESET_CONTROL => {
                reset::read(port)
            }
            _ => {
                self.unbacked.report("port", port.into());
                0xff
            }
        }
    }

    fn write_port(&mut self, port: u16, value: u8) -> Option<Demand> {
        match port {
            serial::FIRST..=serial::LAST => {
                self.serial_port(|serial| serial.write(port - serial::FIRST, value));
                None
            }
            cmos::INDEX | cmos::DATA => {
                self.cmos.write(port, value);
                None
            }
            pm::FIRST..=pm::LAST => self.pm.write(port, value),
            // The counter cannot be set.
            pm_timer::FIRST..=pm_timer::LAST => None,
            reset::KEYBOARD_DATA | reset::KEYBOARD_COMMAND | reset::RESET_CONTROL => {
                reset::write(port, value)
            }
            _ => {
                self.unbacked.report("port", port.into());
                None
            }
        }
    }

    fn serial_port<T>(&self, access: impl FnOnce(&mut SerialPort) -> T) -> T {
        access(&mut self.serial.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the result of a request to which no device responds.
pub fn nothing(request: &Request) -> Outcome {
    match request.direction {
        Direction::Read => Outcome::Value(request.width.mask()),
        Direction::Write => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use acrn_ioctls::Width;
    use std::io;

    fn devices() -> Devices {
        let line = Box::new(|| Ok(()));
        let serial = SerialPort::new(line, Box::new(io::sink()), Box::new(|| ()));
        Devices::new(
            Arc::new(Mutex::new(serial)),
            Arc::new(Bus::new(Vec::new())),
            false,
        )
    }

    fn read(target: Target, width: Width) -> Request {
        Request {
            target,
            direction: Direction::Read,
            width,
            value: 0,
        }
    }

    fn write(target: Target, width: Width, value: u64) -> Request {
        Request {
            target,
            direction: Direction::Write,
            width,
            value,
        }
    }

    #[test]
    fn nothing_reads_as_ones_in_every_width() {
        let mut devices = devices();
        for (width, ones) in [
            (Width::One, 0xff),
            (Width::Two, 0xffff),
            (Width::Four, 0xffff_ffff),
        ] {
            let outcome = devices.serve(&read(Target::Port(0x1234), width));
            assert_eq!(outcome, Outcome::Value(ones));
        }
        let outcome = devices.serve(&read(Target::Memory(0xd000_0000), Width::Eight));
        assert_eq!(outcome, Outcome::Value(u64::MAX));
        assert_eq!(
            devices.serve(&write(Target::Memory(u64::MAX), Width::Eight, 1)),
            Outcome::Done
        );
    }

    #[test]
    fn every_port_takes_every_width() {
        let mut devices = devices();
        for port in 0..=u16::MAX {
            for width in [Width::One, Width::Two, Width::Four] {
                let _ = devices.serve(&read(Target::Port(port), width));
                let _ = devices.serve(&write(Target::Port(port), width, 0));
            }
        }
    }

    #[test]
    fn wide_reads_are_rows_of_narrow_ones() {
        let mut devices = devices();
        // No device has the last two ports.
        let outcome = devices.serve(&read(Target::Port(pm::CONTROL_BLOCK), Width::Four));
        assert_eq!(outcome, Outcome::Value(0xffff_0001));
    }

    #[test]
    fn power_off_and_reset_are_demands() {
        let mut devices = devices();
        let off = u64::from(pm::SLEEP_TYPE_S5) << 10 | 1 << 13;
        let outcome = devices.serve(&write(Target::Port(pm::CONTROL_BLOCK), Width::Two, off));
        assert_eq!(outcome, Outcome::Demand(Demand::PowerOff));
        let outcome = devices.serve(&write(Target::Port(reset::RESET_CONTROL), Width::One, 6));
        assert_eq!(outcome, Outcome::Demand(Demand::Reset));
        let outcome = devices.serve(&write(
            Target::Port(reset::KEYBOARD_COMMAND),
            Width::One,
            0xfe,
        ));
        assert_eq!(outcome, Outcome::Demand(Demand::Reset));
    }

    #[test]
    fn host_bridge_answers() {
        let bridge = Target::PciConfig {
            bus: 0,
            device: 0,
            function: 0,
            register: 0,
        };
        assert_eq!(
            devices().serve(&read(bridge, Width::Four)),
            Outcome::Value(0x1237_8086)
        );
    }
}
