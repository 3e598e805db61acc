// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The common configuration, by which a guest and a virtio device negotiate features and queues.

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestMemoryMmap;

use acrn_ioctls::Width;

/// The size of the registers in bytes.
pub const SIZE: u64 = 0x38;

/// The vector of a queue or event without an interrupt.
pub const NO_VECTOR: u16 = 0xffff;

const DRIVER_OK: u8 = VIRTIO_CONFIG_S_DRIVER_OK as u8;
const FEATURES_OK: u8 = VIRTIO_CONFIG_S_FEATURES_OK as u8;
const NEEDS_RESET: u8 = VIRTIO_CONFIG_S_NEEDS_RESET as u8;

/// The effect of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No effect beyond the registers.
    None,
    /// The guest's driver is ready.
    Started,
    /// The guest resets the device.
    Reset,
}

/// A queue with its vector.
struct Line {
    queue: Queue,
    vector: u16,
}

/// The registers.
pub struct Transport {
    offered: u64,
    chosen: u64,
    offered_select: u32,
    chosen_select: u32,
    status: u8,
    config_vector: u16,
    queue_select: u16,
    lines: Vec<Line>,
    vectors: u16,
}

impl Transport {
    /// Each of `sizes` is a power of two.
    pub fn new(offered: u64, sizes: &[u16]) -> Result<Self, virtio_queue::Error> {
        let line = |size: &u16| {
            Ok(Line {
                queue: Queue::new(*size)?,
                vector: NO_VECTOR,
            })
        };
        Ok(Transport {
            offered,
            chosen: 0,
            offered_select: 0,
            chosen_select: 0,
            status: 0,
            config_vector: NO_VECTOR,
            queue_select: 0,
            lines: sizes.iter().map(line).collect::<Result<_, _>>()?,
            vectors: sizes.len() as u16 + 1,
        })
    }

    /// Resets to the state after power-on.
    pub fn reset(&mut self) {
        self.chosen = 0;
        (self.offered_select, self.chosen_select) = (0, 0);
        self.status = 0;
        self.config_vector = NO_VECTOR;
        self.queue_select = 0;
        for line in &mut self.lines {
            line.queue.reset();
            line.vector = NO_VECTOR;
        }
    }

    /// Returns whether the queues may be served.
    pub fn runs(&self) -> bool {
        self.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK
    }

    /// Returns the features that the guest's driver has chosen.
    pub fn features(&self) -> u64 {
        self.chosen
    }

    /// Returns a queue that is set up, and its vector.
    pub fn queue(&mut self, index: usize) -> Option<(&mut Queue, u16)> {
        let line = self.lines.get_mut(index)?;
        line.queue.ready().then_some((&mut line.queue, line.vector))
    }

    /// Stops the device. Returns the vector for configuration changes, which informs the guest.
    pub fn stop(&mut self) -> u16 {
        self.status |= NEEDS_RESET;
        self.config_vector
    }

    fn line(&self) -> Option<&Line> {
        self.lines.get(usize::from(self.queue_select))
    }

    /// Returns the selected queue while it may still be changed.
    fn idle_queue(&mut self) -> Option<&mut Queue> {
        let line = self.lines.get_mut(usize::from(self.queue_select))?;
        (!line.queue.ready()).then_some(&mut line.queue)
    }

    /// Reads a register of its own width. Registers of addresses may be read in halves.
    pub fn read(&self, offset: u64, width: Width) -> u64 {
        let queue = self.line().map(|line| &line.queue);
        let address = |which: fn(&Queue) -> u64, shift: u32| queue.map_or(0, which) >> shift;
        let value = match (offset, width) {
            (0x00, Width::Four) => self.offered_select.into(),
            (0x04, Width::Four) => half(self.offered, self.offered_select),
            (0x08, Width::Four) => self.chosen_select.into(),
            (0x0c, Width::Four) => half(self.chosen, self.chosen_select),
            (0x10, Width::Two) => self.config_vector.into(),
            (0x12, Width::Two) => self.lines.len() as u64,
            (0x14, Width::One) => self.status.into(),
            // The configuration generation. The configuration never changes.
            (0x15, Width::One) => 0,
            (0x16, Width::Two) => self.queue_select.into(),
            (0x18, Width::Two) => queue.map_or(0, |queue| queue.size().into()),
            (0x1a, Width::Two) => self.line().map_or(NO_VECTOR, |line| line.vector).into(),
            (0x1c, Width::Two) => queue.map_or(0, |queue| queue.ready().into()),
            // The number of the queue's doorbell.
            (0x1e, Width::Two) => self.queue_select.into(),
            (0x20, Width::Four | Width::Eight) => address(Queue::desc_table, 0),
            (0x24, Width::Four) => address(Queue::desc_table, 32),
            (0x28, Width::Four | Width::Eight) => address(Queue::avail_ring, 0),
            (0x2c, Width::Four) => address(Queue::avail_ring, 32),
            (0x30, Width::Four | Width::Eight) => address(Queue::used_ring, 0),
            (0x34, Width::Four) => address(Queue::used_ring, 32),
            _ => 0,
        };
        value & width.mask()
    }

    /// Writes a register.
    pub fn write(
        &mut self,
        offset: u64,
        width: Width,
        value: u64,
        memory: &GuestMemoryMmap,
    ) -> Change {
        match (offset, width) {
            (0x00, Width::Four) => self.offered_select = value as u32,
            (0x08, Width::Four) => self.chosen_select = value as u32,
            (0x0c, Width::Four) => self.choose(value as u32),
            (0x10, Width::Two) => self.config_vector = self.vector(value),
            (0x14, Width::One) => return self.set_status(value as u8, memory),
            (0x16, Width::Two) => self.queue_select = value as u16,
            (0x1a, Width::Two) => self.set_queue_vector(value),
            (0x20..0x38, Width::Eight) => {
                self.write_queue(offset, value as u32);
                self.write_queue(offset + 4, (value >> 32) as u32);
            }
            (0x18 | 0x1c, Width::Two) | (0x20..0x38, Width::Four) => {
                self.write_queue(offset, value as u32);
            }
            _ => {}
        }
        Change::None
    }

    fn write_queue(&mut self, offset: u64, value: u32) {
        let Some(queue) = self.idle_queue() else {
            return;
        };
        match offset {
            // Invalid values are ignored.
            0x18 => queue.set_size(value as u16),
            0x1c => queue.set_ready(value == 1),
            0x20 => queue.set_desc_table_address(Some(value), None),
            0x24 => queue.set_desc_table_address(None, Some(value)),
            0x28 => queue.set_avail_ring_address(Some(value), None),
            0x2c => queue.set_avail_ring_address(None, Some(value)),
            0x30 => queue.set_used_ring_address(Some(value), None),
            0x34 => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }

    /// A vector that does not exist reads back as [`NO_VECTOR`].
    fn vector(&self, value: u64) -> u16 {
        let vector = value as u16;
        if vector < self.vectors {
            vector
        } else {
            NO_VECTOR
        }
    }

    fn set_queue_vector(&mut self, value: u64) {
        let vector = self.vector(value);
        if let Some(line) = self.lines.get_mut(usize::from(self.queue_select)) {
            line.vector = vector;
        }
    }

    fn choose(&mut self, features: u32) {
        if self.status & FEATURES_OK == 0 && self.chosen_select < 2 {
            let shift = 32 * self.chosen_select;
            let mask = u64::from(u32::MAX) << shift;
            self.chosen = self.chosen & !mask | u64::from(features) << shift;
        }
    }

    fn set_status(&mut self, value: u8, memory: &GuestMemoryMmap) -> Change {
        if value == 0 {
            self.reset();
            return Change::Reset;
        }
        let before = self.status;
        // The guest may only add bits.
        self.status |= value & !NEEDS_RESET;
        if before & FEATURES_OK == 0 && self.status & FEATURES_OK != 0 {
            if self.acceptable() {
                let event_idx = self.chosen & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
                for line in &mut self.lines {
                    line.queue.set_event_idx(event_idx);
                }
            } else {
                self.status &= !FEATURES_OK;
            }
        }
        if before & DRIVER_OK != 0 || self.status & DRIVER_OK == 0 {
            return Change::None;
        }
        let mut queues = self.lines.iter().map(|line| &line.queue);
        let valid = queues.all(|queue| !queue.ready() || queue.is_valid(memory));
        if self.status & FEATURES_OK == 0 || !valid {
            self.status |= NEEDS_RESET;
        }
        Change::Started
    }

    fn acceptable(&self) -> bool {
        self.chosen & !self.offered == 0 && self.chosen & 1 << VIRTIO_F_VERSION_1 != 0
    }
}

/// Returns 32 of the 64 feature bits. There are no others.
fn half(features: u64, select: u32) -> u64 {
    match select {
        0 => features & 0xffff_ffff,
        1 => features >> 32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::GuestAddress;

    const OFFERED: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << 29 | 1 << 9;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10_0000)]).unwrap()
    }

    struct Rig(Transport, GuestMemoryMmap);

    impl Rig {
        fn new() -> Self {
            Rig(Transport::new(OFFERED, &[64, 128]).unwrap(), memory())
        }

        fn write(&mut self, offset: u64, width: Width, value: u64) -> Change {
            self.0.write(offset, width, value, &self.1)
        }

        fn choose(&mut self, features: u64) -> u64 {
            for select in 0..2 {
                self.write(8, Width::Four, select);
                self.write(12, Width::Four, features >> (32 * select) & 0xffff_ffff);
            }
            self.write(0x14, Width::One, 0xb);
            self.0.read(0x14, Width::One)
        }

        fn queue(&mut self, at: u64) {
            self.write(0x16, Width::Two, 1);
            self.write(0x18, Width::Two, 16);
            self.write(0x1a, Width::Two, 2);
            self.write(0x20, Width::Eight, at);
            self.write(0x28, Width::Four, at + 0x1000);
            self.write(0x2c, Width::Four, 0);
            self.write(0x30, Width::Eight, at + 0x2000);
            self.write(0x1c, Width::Two, 1);
        }
    }

    #[test]
    fn features_are_offered_and_chosen() {
        let mut rig = Rig::new();
        rig.write(0, Width::Four, 1);
        assert_eq!(rig.0.read(4, Width::Four), 1);
        rig.write(0, Width::Four, 2);
        assert_eq!(rig.0.read(4, Width::Four), 0);
        assert_eq!(rig.choose(1 << 32 | 1 << 9), 0xb);
        assert_eq!(rig.0.features(), 1 << 32 | 1 << 9);
        // Too late.
        rig.write(12, Width::Four, 0);
        assert_eq!(rig.0.features(), 1 << 32 | 1 << 9);
    }

    #[test]
    fn wrong_features_are_refused() {
        assert_eq!(Rig::new().choose(1 << 9), 3);
        assert_eq!(Rig::new().choose(1 << 32 | 1 << 5), 3);
    }

    #[test]
    fn device_starts_and_resets() {
        let mut rig = Rig::new();
        rig.choose(OFFERED);
        rig.queue(0x1000);
        assert!(!rig.0.runs());
        assert_eq!(rig.write(0x14, Width::One, 0xf), Change::Started);
        assert!(rig.0.runs());
        let (queue, vector) = rig.0.queue(1).unwrap();
        assert_eq!((queue.size(), queue.used_ring(), vector), (16, 0x3000, 2));
        assert!(queue.event_idx_enabled());
        assert!(rig.0.queue(0).is_none());
        // An enabled queue does not change.
        rig.write(0x20, Width::Eight, 0x8000);
        assert_eq!(rig.0.read(0x20, Width::Eight), 0x1000);
        assert_eq!(rig.write(0x14, Width::One, 0), Change::Reset);
        assert!(!rig.0.runs() && rig.0.queue(1).is_none());
        assert_eq!(rig.0.read(0x14, Width::One), 0);
    }

    #[test]
    fn queues_outside_of_memory_stop_the_device() {
        let mut rig = Rig::new();
        rig.choose(OFFERED);
        rig.queue(0xf_f000);
        rig.write(0x14, Width::One, 0xf);
        assert!(!rig.0.runs());
        assert_eq!(rig.0.read(0x14, Width::One), 0x4f);
    }

    #[test]
    fn impossible_values_are_ignored() {
        let mut rig = Rig::new();
        rig.write(0x16, Width::Two, 1);
        for size in [0, 3, 256, 0xffff] {
            rig.write(0x18, Width::Two, size);
            assert_eq!(rig.0.read(0x18, Width::Two), 128);
        }
        rig.write(0x1a, Width::Two, 3);
        assert_eq!(rig.0.read(0x1a, Width::Two), 0xffff);
        rig.write(0x16, Width::Two, 2);
        assert_eq!(rig.0.read(0x18, Width::Two), 0);
        rig.write(0x1c, Width::Two, 1);
        rig.write(0x1a, Width::Two, 1);
        for offset in 0..0x100 {
            for width in [Width::One, Width::Two, Width::Four, Width::Eight] {
                rig.write(offset, width, u64::MAX);
                let _ = rig.0.read(offset, width);
            }
        }
    }
}
