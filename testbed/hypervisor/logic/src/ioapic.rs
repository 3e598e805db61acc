// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! An emulated I/O APIC (Intel 82093AA data sheet) with as many pins as ACRN's.

use crate::apic::Message;
use alloc::vec::Vec;

/// Number of pins.
pub const PINS: usize = 48;
/// Physical address in a User VM.
pub const BASE: u64 = 0xFEC0_0000;
/// Register select.
const IOREGSEL: u64 = 0x00;
/// Data window.
const IOWIN: u64 = 0x10;
const ACTIVE_LOW: u64 = 1 << 13;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Delivery status and remote IRR.
const READ_ONLY: u64 = 1 << 12 | REMOTE_IRR;
/// Destination, and the defined bits of the low half.
const DEFINED: u64 = 0xFF00_0000_0001_FFFF;

/// Operations on a line, numbered as in SET_IRQLINE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineOp {
    /// The line goes high and stays high.
    High,
    /// The line goes low and stays low.
    Low,
    /// The line goes high, then low.
    RisingPulse,
    /// The line goes low, then high.
    FallingPulse,
}

impl LineOp {
    /// Returns the operation with the number `op` of the ABI.
    pub fn from_op(op: u32) -> Option<Self> {
        Some(match op {
            0 => Self::High,
            1 => Self::Low,
            2 => Self::RisingPulse,
            3 => Self::FallingPulse,
            _ => return None,
        })
    }
}

/// The I/O APIC.
pub struct IoApic {
    select: u8,
    id: u32,
    entries: [u64; PINS],
    lines: u64,
}

impl Default for IoApic {
    fn default() -> Self {
        Self::new()
    }
}

impl IoApic {
    /// Returns the state after reset: all pins are masked, all lines low.
    pub const fn new() -> Self {
        Self { select: 0, id: 0, entries: [MASKED; PINS], lines: 0 }
    }

    /// Reads the register at `offset`.
    pub fn read(&self, offset: u64) -> u32 {
        match (offset, self.select) {
            (IOREGSEL, _) => u32::from(self.select),
            (IOWIN, 0 | 2) => self.id,
            // Version 0x11, and the number of the last entry.
            (IOWIN, 1) => 0x11 | (PINS as u32 - 1) << 16,
            (IOWIN, _) => {
                self.entry().map_or(0, |(pin, shift)| (self.entries[pin] >> shift) as u32)
            }
            _ => 0,
        }
    }

    /// Writes the register at `offset`. Returns the interrupt that this raises.
    pub fn write(&mut self, offset: u64, value: u32) -> Option<Message> {
        match (offset, self.select) {
            (IOREGSEL, _) => self.select = value as u8,
            (IOWIN, 0) => self.id = value & 0x0F00_0000,
            (IOWIN, _) => {
                let (pin, shift) = self.entry()?;
                let old = self.entries[pin];
                let keep = READ_ONLY | !(0xFFFF_FFFF << shift);
                let mut new = (old & keep) | ((u64::from(value) << shift) & !keep & DEFINED);
                if new & LEVEL == 0 {
                    new &= !REMOTE_IRR;
                }
                self.entries[pin] = new;
                return self.level_interrupt(pin);
            }
            _ => {}
        }
        None
    }

    fn entry(&self) -> Option<(usize, u32)> {
        let n = usize::from(self.select).checked_sub(0x10)?;
        (n / 2 < PINS).then_some((n / 2, (n as u32 & 1) * 32))
    }

    fn message(&self, pin: usize) -> Message {
        let e = self.entries[pin];
        Message {
            vector: e as u8,
            dest: (e >> 56) as u8,
            logical: e & 1 << 11 != 0,
            mode: (e >> 8) as u8 & 7,
        }
    }

    fn is_active(&self, pin: usize) -> bool {
        let high = self.lines & 1 << pin != 0;
        high != (self.entries[pin] & ACTIVE_LOW != 0)
    }

    /// Raises the interrupt of a level-triggered pin, if its line is active and it does not wait
    /// for an EOI.
    fn level_interrupt(&mut self, pin: usize) -> Option<Message> {
        let e = self.entries[pin];
        if e & (LEVEL | MASKED | REMOTE_IRR) != LEVEL || !self.is_active(pin) {
            return None;
        }
        self.entries[pin] |= REMOTE_IRR;
        Some(self.message(pin))
    }

    fn set_level(&mut self, pin: usize, high: bool) -> Option<Message> {
        let was_active = self.is_active(pin);
        self.lines = self.lines & !(1 << pin) | u64::from(high) << pin;
        let e = self.entries[pin];
        if e & LEVEL != 0 {
            return self.level_interrupt(pin);
        }
        (e & MASKED == 0 && !was_active && self.is_active(pin)).then(|| self.message(pin))
    }

    /// Changes the line of `pin`, which must exist. Returns the interrupt that this raises.
    pub fn set_line(&mut self, pin: usize, line: LineOp) -> Option<Message> {
        let (first, second) = match line {
            LineOp::High => (true, None),
            LineOp::Low => (false, None),
            LineOp::RisingPulse => (true, Some(false)),
            LineOp::FallingPulse => (false, Some(true)),
        };
        let a = self.set_level(pin, first);
        let b = second.and_then(|high| self.set_level(pin, high));
        a.or(b)
    }

    /// Handles the EOI of a vCPU for `vector`. Returns the interrupts of lines that are still
    /// active.
    pub fn end_of_interrupt(&mut self, vector: u8) -> Vec<Message> {
        let mut again = Vec::new();
        for pin in 0..PINS {
            let e = self.entries[pin];
            if e as u8 == vector && e & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR {
                self.entries[pin] &= !REMOTE_IRR;
                again.extend(self.level_interrupt(pin));
            }
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(io: &mut IoApic, pin: u32, entry: u64) -> Option<Message> {
        io.write(IOREGSEL, 0x11 + pin * 2);
        io.write(IOWIN, (entry >> 32) as u32);
        io.write(IOREGSEL, 0x10 + pin * 2);
        io.write(IOWIN, entry as u32)
    }

    #[test]
    fn registers() {
        let mut io = IoApic::new();
        io.write(IOREGSEL, 1);
        assert_eq!(io.read(IOWIN), 0x2F_0011);
        program(&mut io, 4, 0x0100_0000_FFFF_FFFF);
        assert_eq!(io.read(IOWIN), 0x1_AFFF, "status bits are not writable");
        io.write(IOREGSEL, 0x19);
        assert_eq!(io.read(IOWIN), 0x0100_0000);
        io.write(IOREGSEL, 0x70);
        assert_eq!((io.read(IOWIN), io.write(IOWIN, 1)), (0, None));
    }

    #[test]
    fn edges() {
        let mut io = IoApic::new();
        assert_eq!(io.set_line(4, LineOp::RisingPulse), None, "masked");
        program(&mut io, 4, 1 << 56 | 0x34);
        let m = Message { vector: 0x34, dest: 1, logical: false, mode: 0 };
        assert_eq!(io.set_line(4, LineOp::RisingPulse), Some(m));
        assert_eq!(io.set_line(4, LineOp::High), Some(m));
        assert_eq!(io.set_line(4, LineOp::High), None);
        assert_eq!(io.set_line(4, LineOp::FallingPulse), Some(m));
    }

    #[test]
    fn the_last_pin_is_one() {
        let mut io = IoApic::new();
        program(&mut io, 47, 3 << 56 | 0x41);
        let m = Message { vector: 0x41, dest: 3, logical: false, mode: 0 };
        assert_eq!(io.set_line(47, LineOp::RisingPulse), Some(m));
    }

    #[test]
    fn levels_come_again_until_the_line_falls() {
        let mut io = IoApic::new();
        program(&mut io, 9, LEVEL | 0x39);
        assert!(io.set_line(9, LineOp::High).is_some());
        assert_eq!(io.set_line(9, LineOp::High), None, "remote IRR");
        assert_eq!(io.end_of_interrupt(0x38), []);
        assert_eq!(io.end_of_interrupt(0x39).len(), 1);
        io.set_line(9, LineOp::Low);
        assert_eq!(io.end_of_interrupt(0x39), []);
        assert!(io.set_line(9, LineOp::High).is_some());
    }

    #[test]
    fn a_line_that_is_active_fires_when_unmasked() {
        let mut io = IoApic::new();
        io.set_line(9, LineOp::High);
        assert!(program(&mut io, 9, LEVEL | 0x39).is_some());
        assert_eq!(program(&mut io, 10, LEVEL | MASKED | ACTIVE_LOW | 0x40), None);
        assert!(program(&mut io, 10, LEVEL | ACTIVE_LOW | 0x40).is_some());
    }
}
