// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Virtio devices on PCI, version 1 of the specification, without the legacy interface.

pub mod block;
pub mod console;
pub mod disk;
mod doorbells;
pub mod function;
mod service;
mod transport;
pub mod wires;
pub mod worker;

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::Queue;
use vm_memory::GuestMemoryMmap;

pub use service::{Broken, Service};

/// The features that all devices offer.
const COMMON_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_RING_F_INDIRECT_DESC;

/// The part of a virtio device that differs between device types.
pub trait Device: Send + 'static {
    /// The device's number in the specification.
    const ID: u16;
    /// PCI class: base class, subclass, interface.
    const CLASS: u32;
    /// The maximum length of each queue.
    const QUEUES: &'static [u16];

    /// The features that the device offers besides [`COMMON_FEATURES`].
    fn features(&self) -> u64;
    /// The device-specific configuration.
    fn config(&self) -> &[u8];
    /// The guest's driver is ready, with these features.
    fn start(&mut self, features: u64);
    /// Serves a queue, which may contain requests.
    fn serve(
        &mut self,
        index: usize,
        queue: &mut Queue,
        memory: &GuestMemoryMmap,
    ) -> Result<Service, Broken>;
}
