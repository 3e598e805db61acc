// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Serves a queue until it is empty.

use std::fmt;

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

/// A chain of buffers in guest memory.
pub type Chain<'a> = DescriptorChain<&'a GuestMemoryMmap>;

/// The notification for the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// None.
    Silent,
    /// A notification that the device has used buffers of the queue.
    Interrupt,
}

/// The contents of a queue are invalid. The device stops until the guest resets it.
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

/// Serves all chains while `ready` returns true. `serve` returns the number of bytes that it wrote
/// to a chain.
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
            // A chain is available that cannot be taken out. The loop would never end.
            return Err(Broken(virtio_queue::Error::InvalidChain));
        }
        // True if a chain became available before the guest could know that it must notify the
        // device again.
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
