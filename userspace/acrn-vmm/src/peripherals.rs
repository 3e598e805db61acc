// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The devices of the command line, with their threads.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use acrn_ioctls::{IrqLine, Vm};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use crate::cli::{Args, ConsoleArg, DiskArg};
use crate::console::Input;
use crate::devices::pci::{self, Bus};
use crate::devices::serial::{self, SerialPort};
use crate::devices::virtio::Device;
use crate::devices::virtio::block::Block;
use crate::devices::virtio::console::VirtioConsole;
use crate::devices::virtio::disk::Disk;
use crate::devices::virtio::function::Function;
use crate::devices::virtio::worker::Worker;
use crate::error::Result;
use crate::supervisor::event_pair;

/// The open disks of the command line.
pub struct Disks(Vec<(Disk, String)>);

impl Disks {
    pub fn open(args: &[DiskArg]) -> Result<Self> {
        let open = |arg: &DiskArg| Ok((Disk::open(&arg.path, arg.read_only)?, name(&arg.path)));
        args.iter().map(open).collect::<Result<_>>().map(Disks)
    }
}

/// Returns the serial number of a disk for the guest.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The devices.
pub struct Peripherals {
    pub serial: Arc<Mutex<SerialPort>>,
    /// The device that receives standard input.
    pub input: Arc<Mutex<dyn Input>>,
    /// Signalled when the guest has read all input of `input`.
    pub drained: EventFd,
    pub bus: Arc<Bus>,
    workers: Vec<Worker>,
}

/// The virtio devices during their creation, one PCI device after the other.
struct Slots<'a> {
    vm: &'a Arc<Vm>,
    memory: &'a GuestMemoryMmap,
    functions: Vec<Arc<Mutex<dyn pci::Function>>>,
    workers: Vec<Worker>,
}

impl Slots<'_> {
    fn add<D: Device>(&mut self, device: D, name: String) -> Result<Arc<Mutex<Function<D>>>> {
        let wires: Arc<Weak<Vm>> = Arc::new(Arc::downgrade(self.vm));
        let number = self.functions.len() as u32 + 1;
        let function = Function::new(device, name, number, self.memory.clone(), wires)?;
        let function = Arc::new(Mutex::new(function));
        self.functions.push(function.clone());
        self.workers.push(Worker::start(function.clone())?);
        Ok(function)
    }
}

impl Peripherals {
    pub fn new(args: &Args, disks: Disks, vm: &Arc<Vm>, memory: &GuestMemoryMmap) -> Result<Self> {
        let (signal, drained) = event_pair()?;
        let signal = move || {
            // Fails only if the eventfd's counter is at its maximum.
            let _ = signal.write(1);
        };
        let mut slots = Slots {
            vm,
            memory,
            functions: Vec::new(),
            workers: Vec::new(),
        };
        let (serial, input): (_, Arc<Mutex<dyn Input>>) = match args.console {
            ConsoleArg::Serial => {
                let serial = serial_port(vm, Box::new(signal));
                (serial.clone(), serial)
            }
            ConsoleArg::Virtio => {
                let console = VirtioConsole::new(Box::new(io::stdout()), Box::new(signal));
                let console = slots.add(console, "virtio-console".into())?;
                (serial_port(vm, Box::new(|| ())), console)
            }
        };
        for (number, (disk, name)) in disks.0.into_iter().enumerate() {
            slots.add(Block::new(disk, &name), format!("virtio-blk-{number}"))?;
        }
        Ok(Peripherals {
            serial,
            input,
            drained,
            bus: Arc::new(Bus::new(slots.functions)),
            workers: slots.workers,
        })
    }

    /// Ends the threads and deassigns all eventfds. The guest may still run.
    pub fn detach(self) -> Result<()> {
        let stopped = self.workers.into_iter().map(Worker::stop);
        let stopped = stopped.fold(Ok(()), Result::and);
        if stopped.is_ok() {
            // A thread that does not end holds the lock of its device.
            self.bus.reset();
        }
        stopped
    }
}

fn serial_port(vm: &Arc<Vm>, drained: serial::Drained) -> Arc<Mutex<SerialPort>> {
    // A weak reference, so that the VM can be destroyed while the port exists.
    let vm = Arc::downgrade(vm);
    let interrupt = Box::new(move || match vm.upgrade() {
        Some(vm) => Ok(vm.set_irqline(serial::GSI, IrqLine::RisingPulse)?),
        None => Ok(()),
    });
    let output = Box::new(io::stdout());
    Arc::new(Mutex::new(SerialPort::new(interrupt, output, drained)))
}
