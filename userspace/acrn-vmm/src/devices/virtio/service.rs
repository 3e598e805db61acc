// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Serving a queue until it is empty.

use std::fmt;

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

/// A chain of buffers, in guest memory.
pub type Chain<'a> = DescriptorChain<&'a GuestMemoryMmap>;

/// What the guest is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Nothing.
    Silent,
    /// That there is something for it in the queue.
    Interrupt,
}

/// What is in a queue makes no sense. The device stops until the guest resets it.
#[derive(Debug)]
pub struct Broken(virtio_queue::Error);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<virtio_queue::Error> for Broken {
    fn from(error: virtio_queue::Error) -> Self {
        Broken(error)
    }
}

/// Serves all chains while `ready`; `serve` says how many bytes it wrote to a chain.
pub fn serve(
    queue: &mut Queue,
    memory: &GuestMemoryMmap,
    mut ready: impl FnMut() -> bool,
    mut serve: impl FnMut(Chain<'_>) -> u32,
) -> Result<Service, Broken> {
    let (mut more, mut any) = (false, false);
    loop {
        queue.disable_notification(memory)?;
        let mut served = false;
        while ready() {
            let Some(chain) = queue.iter(memory)?.next() else {
                break;
            };
            let head = chain.head_index();
            let written = serve(chain);
            queue.add_used(memory, head, written)?;
            served = true;
        }
        any |= served;
        if more && !served && ready() {
            // There is something that can't be taken out; it would keep us here for ever.
            return Err(Broken(virtio_queue::Error::InvalidChain));
        }
        // True if something came in before the guest could know that it has to ring again.
        more = queue.enable_notification(memory)?;
        if !more || !ready() {
            break;
        }
    }
    if any && queue.needs_notification(memory)? {
        return Ok(Service::Interrupt);
    }
    Ok(Service::Silent)
}
