// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The first serial port, a 16550.

use std::io::{self, Write};

use vm_superio::serial::{Error, SerialEvents};
use vm_superio::{Serial, Trigger};

use crate::console::Input;

pub const FIRST: u16 = 0x3f8;
pub const LAST: u16 = FIRST + 7;
/// The interrupt of the first serial port.
pub const GSI: u32 = 4;

/// The connection of the port to the guest's interrupt controller.
pub type Interrupt = Box<dyn Fn() -> io::Result<()> + Send>;
/// Called when the guest has read all input.
pub type Drained = Box<dyn Fn() + Send>;

struct Line(Interrupt);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        (self.0)()
    }
}

struct Events(Drained);

impl SerialEvents for Events {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}

    fn in_buffer_empty(&self) {
        (self.0)();
    }
}

/// The port.
pub struct SerialPort {
    uart: Serial<Line, Events, Box<dyn Write + Send>>,
    failed: bool,
}

impl SerialPort {
    pub fn new(interrupt: Interrupt, output: Box<dyn Write + Send>, drained: Drained) -> Self {
        SerialPort {
            uart: Serial::with_events(Line(interrupt), Events(drained), output),
            failed: false,
        }
    }

    /// Reads the register at this offset.
    pub fn read(&mut self, offset: u16) -> u8 {
        self.uart.read(offset as u8)
    }

    /// Writes the register at this offset.
    pub fn write(&mut self, offset: u16, value: u8) {
        let result = self.uart.write(offset as u8, value);
        self.note(result.err());
    }

    /// Returns the number of bytes of input for which there is room.
    pub fn room(&self) -> usize {
        self.uart.fifo_capacity()
    }

    /// The guest cannot be informed of lost output or a lost interrupt. The user is, once.
    fn note(&mut self, error: Option<Error<io::Error>>) {
        if let Some(error) = error
            && !self.failed
        {
            self.failed = true;
            eprintln!("acrn-vmm: serial port: {error}");
        }
    }
}

impl Input for SerialPort {
    fn feed(&mut self, input: &[u8]) -> usize {
        let input = &input[..input.len().min(self.room())];
        if input.is_empty() {
            return 0;
        }
        let result = self.uart.enqueue_raw_bytes(input);
        self.note(result.err());
        // There was room for the input, so the error concerns the interrupt.
        input.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Rig {
        port: SerialPort,
        output: Output,
        interrupts: Arc<AtomicUsize>,
        drained: Arc<AtomicUsize>,
    }

    fn rig() -> Rig {
        let output = Output::default();
        let (interrupts, drained) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (i, d) = (interrupts.clone(), drained.clone());
        let port = SerialPort::new(
            Box::new(move || {
                i.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }),
            Box::new(output.clone()),
            Box::new(move || {
                d.fetch_add(1, Ordering::Relaxed);
            }),
        );
        Rig {
            port,
            output,
            interrupts,
            drained,
        }
    }

    #[test]
    fn output_goes_out() {
        let mut rig = rig();
        for byte in *b"hello" {
            rig.port.write(0, byte);
        }
        assert_eq!(*rig.output.0.lock().unwrap(), b"hello");
        assert_eq!(rig.interrupts.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn input_interrupts_and_drains() {
        let mut rig = rig();
        rig.port.write(1, 1);
        assert_eq!(rig.port.feed(b"ab"), 2);
        assert_eq!(rig.interrupts.load(Ordering::Relaxed), 1);
        assert_eq!(rig.port.read(5) & 1, 1);
        assert_eq!(
            (rig.port.read(0), rig.drained.load(Ordering::Relaxed)),
            (b'a', 0)
        );
        assert_eq!(
            (rig.port.read(0), rig.drained.load(Ordering::Relaxed)),
            (b'b', 1)
        );
        assert_eq!(rig.port.read(5) & 1, 0);
    }

    #[test]
    fn no_more_input_than_there_is_room() {
        let mut rig = rig();
        let room = rig.port.room();
        assert_eq!(rig.port.feed(&vec![0; room + 10]), room);
        assert_eq!(rig.port.feed(b"x"), 0);
    }
}
