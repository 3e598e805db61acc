// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! virtio-console: one port, hvc0 in Linux.

use std::collections::VecDeque;
use std::io::{Read, Write};

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;
use virtio_queue::Queue;
use vm_memory::GuestMemoryMmap;

use super::function::Function;
use super::service::{self, Chain};
use super::{Broken, Device, Service};
use crate::console::Input;

/// The queue with buffers for input.
const RECEIVE: usize = 0;

/// The maximum number of bytes of input that wait for buffers.
const ROOM: usize = 4096;
/// The number of bytes of output that are copied at a time.
const CHUNK: usize = 4096;

/// Called when the guest has taken all input.
pub type Drained = Box<dyn Fn() + Send>;

/// The device.
pub struct VirtioConsole {
    output: Box<dyn Write + Send>,
    input: VecDeque<u8>,
    drained: Drained,
    failed: bool,
}

impl VirtioConsole {
    pub fn new(output: Box<dyn Write + Send>, drained: Drained) -> Self {
        VirtioConsole {
            output,
            input: VecDeque::new(),
            drained,
            failed: false,
        }
    }

    fn transmit(&mut self, chain: Chain<'_>, memory: &GuestMemoryMmap) {
        let Ok(mut reader) = chain.reader(memory) else {
            return;
        };
        let mut chunk = [0; CHUNK];
        while let Ok(len @ 1..) = reader.read(&mut chunk) {
            let written = self.output.write_all(&chunk[..len]);
            if let Err(error) = written.and_then(|()| self.output.flush())
                && !self.failed
            {
                // The guest cannot be informed. The user is, once.
                self.failed = true;
                eprintln!("acrn-vmm: virtio console: {error}");
            }
        }
    }
}

/// Fills a buffer and returns the number of bytes.
fn receive(input: &mut VecDeque<u8>, chain: Chain<'_>, memory: &GuestMemoryMmap) -> u32 {
    let Ok(mut writer) = chain.writer(memory) else {
        return 0;
    };
    let len = writer.available_bytes().min(input.len());
    match writer.write_all(&input.make_contiguous()[..len]) {
        Ok(()) => {
            input.drain(..len);
            // At most ROOM.
            len as u32
        }
        Err(_) => 0,
    }
}

impl Device for VirtioConsole {
    const ID: u16 = VIRTIO_ID_CONSOLE as u16;
    /// Communication controller, other.
    const CLASS: u32 = 0x07_8000;
    const QUEUES: &'static [u16] = &[64, 64];

    /// There is neither a size nor a second port.
    fn features(&self) -> u64 {
        0
    }

    fn config(&self) -> &[u8] {
        &[0; 12]
    }

    fn start(&mut self, _features: u64) {}

    fn serve(
        &mut self,
        index: usize,
        queue: &mut Queue,
        memory: &GuestMemoryMmap,
    ) -> Result<Service, Broken> {
        if index != RECEIVE {
            return service::serve(
                queue,
                memory,
                || true,
                |chain| {
                    self.transmit(chain, memory);
                    0
                },
            );
        }
        let waiting = !self.input.is_empty();
        let input = std::cell::RefCell::new(&mut self.input);
        let service = service::serve(
            queue,
            memory,
            || !input.borrow().is_empty(),
            |chain| receive(&mut input.borrow_mut(), chain, memory),
        );
        if waiting && self.input.is_empty() {
            (self.drained)();
        }
        service
    }
}

impl Input for Function<VirtioConsole> {
    fn feed(&mut self, input: &[u8]) -> usize {
        let waiting = &mut self.device().input;
        let taken = input.len().min(ROOM - waiting.len());
        waiting.extend(&input[..taken]);
        self.serve(RECEIVE);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use virtio_queue::desc::{RawDescriptor, split::Descriptor};
    use virtio_queue::mock::MockSplitQueue;
    use vm_memory::{Bytes, GuestAddress};

    const BUFFER: u64 = 0x10_0000;
    const WRITE: u16 = 2;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x20_0000)]).unwrap()
    }

    #[test]
    fn output_goes_out() {
        let memory = memory();
        let output = Output::default();
        let mut console = VirtioConsole::new(Box::new(output.clone()), Box::new(|| ()));
        let text: Vec<u8> = (0..2 * CHUNK + 5).map(|n| (n % 250) as u8).collect();
        memory.write_slice(&text, GuestAddress(BUFFER)).unwrap();
        let mock = MockSplitQueue::new(&memory, 16);
        let chain = RawDescriptor::from(Descriptor::new(BUFFER, text.len() as u32, 0, 0));
        let beyond = RawDescriptor::from(Descriptor::new(u64::MAX, 8, 0, 0));
        mock.add_desc_chains(&[chain, beyond], 0).unwrap();
        let mut queue: Queue = mock.create_queue().unwrap();
        let service = console.serve(1, &mut queue, &memory).unwrap();
        assert_eq!(service, Service::Interrupt);
        assert!(*output.0.lock().unwrap() == text);
        assert_eq!(mock.used().idx().load(), 2);
    }

    #[test]
    fn input_waits_for_buffers() {
        let memory = memory();
        let drained = Arc::<AtomicUsize>::default();
        let count = drained.clone();
        let mut console = VirtioConsole::new(
            Box::new(Output::default()),
            Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }),
        );
        let mock = MockSplitQueue::new(&memory, 16);
        let buffer = |n: u64| RawDescriptor::from(Descriptor::new(BUFFER + n * 4, 4, WRITE, 0));
        mock.add_desc_chains(&[buffer(0)], 0).unwrap();
        let mut queue: Queue = mock.create_queue().unwrap();
        let service = console.serve(0, &mut queue, &memory).unwrap();
        assert_eq!((service, mock.used().idx().load()), (Service::Silent, 0));
        console.input.extend(b"hello");
        let service = console.serve(0, &mut queue, &memory).unwrap();
        assert_eq!((service, mock.used().idx().load()), (Service::Interrupt, 1));
        assert_eq!(drained.load(Ordering::Relaxed), 0);
        mock.add_desc_chains(&[buffer(1), buffer(2)], 1).unwrap();
        console.serve(0, &mut queue, &memory).unwrap();
        assert_eq!(mock.used().idx().load(), 2);
        assert_eq!(drained.load(Ordering::Relaxed), 1);
        let mut text = [0; 5];
        memory.read_slice(&mut text, GuestAddress(BUFFER)).unwrap();
        assert_eq!(&text, b"hello");
        let second = mock.used().ring().ref_at(1).unwrap().load();
        assert_eq!((second.id(), second.len()), (1, 1));
    }

    #[test]
    fn nonsense_in_a_queue_is_reported() {
        let memory = memory();
        let mut console = VirtioConsole::new(Box::new(Output::default()), Box::new(|| ()));
        let mock = MockSplitQueue::new(&memory, 16);
        let mut queue: Queue = mock.create_queue().unwrap();
        mock.avail().idx().store(17);
        assert!(console.serve(1, &mut queue, &memory).is_err());
    }
}
