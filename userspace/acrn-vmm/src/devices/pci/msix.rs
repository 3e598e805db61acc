// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! MSI-X: a table in which the guest sets and masks each interrupt of a function. The driver turns
//! the eventfd of a vector into the interrupt.

use std::io;
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::config::ConfigSpace;
use crate::devices::virtio::wires::Wires;

/// The size of a table entry in bytes.
pub const ENTRY: u64 = 16;

const CAPABILITY: u8 = 0x11;
/// The offset of the control register in the capability.
const CONTROL: usize = 2;
const CONTROL_MASK_ALL: u16 = 1 << 14;
const CONTROL_ENABLE: u16 = 1 << 15;

/// The offset of an entry's last register, in which only the mask bit has a meaning.
const ENTRY_CONTROL: usize = 12;
const ENTRY_MASKED: u8 = 1;

/// The address and the data of the MSI for an eventfd.
type Message = (u64, u32);

struct Entry {
    registers: [u8; ENTRY as usize],
    /// The vector is pending: it was signalled while it was masked.
    pending: bool,
    event: EventFd,
    /// The MSI that is assigned in the driver, if there is one.
    assigned: Option<Message>,
}

impl Entry {
    fn new() -> io::Result<Self> {
        let mut registers = [0; ENTRY as usize];
        registers[ENTRY_CONTROL] = ENTRY_MASKED;
        Ok(Entry {
            registers,
            pending: false,
            event: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?,
            assigned: None,
        })
    }

    fn message(&self) -> Message {
        let (address, rest) = self.registers.split_at(8);
        let address = address.iter().rfold(0, |a, byte| a << 8 | u64::from(*byte));
        let data = rest[..4]
            .iter()
            .rfold(0, |d, byte| d << 8 | u32::from(*byte));
        (address, data)
    }

    fn masked(&self) -> bool {
        self.registers[ENTRY_CONTROL] & ENTRY_MASKED != 0
    }

    /// Assigns the MSI of the table entry to the eventfd.
    fn assign(&mut self, wires: &dyn Wires) -> io::Result<()> {
        let message = self.message();
        if self.assigned == Some(message) {
            return Ok(());
        }
        self.deassign(wires)?;
        // Some drivers do not reset the count, and would inject an interrupt for it at once.
        let _ = self.event.read();
        wires.assign_interrupt(&self.event, message.0, message.1)?;
        self.assigned = Some(message);
        Ok(())
    }

    fn deassign(&mut self, wires: &dyn Wires) -> io::Result<()> {
        match self.assigned.take() {
            Some(_) => wires.deassign_interrupt(&self.event),
            None => Ok(()),
        }
    }
}

/// The table with its vectors.
pub struct Msix {
    entries: Vec<Entry>,
    enabled: bool,
    all_masked: bool,
    wires: Arc<dyn Wires>,
    failed: bool,
}

impl Msix {
    pub fn new(vectors: usize, wires: Arc<dyn Wires>) -> io::Result<Self> {
        Ok(Msix {
            entries: (0..vectors)
                .map(|_| Entry::new())
                .collect::<io::Result<_>>()?,
            enabled: false,
            all_masked: false,
            wires,
            failed: false,
        })
    }

    /// Adds the capability for a table and pending bits in BAR 0. Returns its offset.
    pub fn add_capability(&self, space: &mut ConfigSpace, table: u32, pending: u32) -> usize {
        let last = self.entries.len() as u16 - 1;
        let mut body = last.to_le_bytes().to_vec();
        body.extend(table.to_le_bytes());
        body.extend(pending.to_le_bytes());
        let at = space.add_capability(CAPABILITY, &body);
        space.set_writable(at + CONTROL, CONTROL_ENABLE | CONTROL_MASK_ALL);
        at
    }

    /// Applies the control register after a write to configuration space.
    pub fn control(&mut self, space: &ConfigSpace, capability: usize) {
        let control = space.u16(capability + CONTROL);
        let (enabled, all_masked) = (
            control & CONTROL_ENABLE != 0,
            control & CONTROL_MASK_ALL != 0,
        );
        if (enabled, all_masked) == (self.enabled, self.all_masked) {
            return;
        }
        (self.enabled, self.all_masked) = (enabled, all_masked);
        if !enabled {
            self.disarm();
        }
        self.send_pending();
    }

    /// Reads a byte of the table.
    pub fn read_table(&self, offset: u64) -> u8 {
        let entry = self.entries.get((offset / ENTRY) as usize);
        entry.map_or(0, |entry| entry.registers[(offset % ENTRY) as usize])
    }

    /// Writes bytes of one table entry.
    pub fn write_table(&mut self, offset: u64, bytes: &[u8]) {
        let Some(entry) = self.entries.get_mut((offset / ENTRY) as usize) else {
            return;
        };
        let places = &mut entry.registers[(offset % ENTRY) as usize..];
        for (place, byte) in places.iter_mut().zip(bytes) {
            *place = *byte;
        }
        entry.registers[ENTRY_CONTROL] &= ENTRY_MASKED;
        entry.registers[ENTRY_CONTROL + 1..].fill(0);
        self.send_pending();
    }

    /// Reads a byte of the pending bits.
    pub fn read_pending(&self, offset: u64) -> u8 {
        let first = offset as usize * 8;
        let entries = self.entries.iter().skip(first).take(8);
        entries.rfold(0, |bits, entry| bits << 1 | u8::from(entry.pending))
    }

    /// Interrupts the guest, now or when it unmasks the vector. A missing vector has no effect.
    pub fn signal(&mut self, vector: u16) {
        if let Some(entry) = self.entries.get_mut(usize::from(vector))
            && self.enabled
        {
            entry.pending = true;
            self.send_pending();
        }
    }

    /// Signals pending vectors that are no longer masked. Unmasked vectors are assigned here and
    /// not earlier, as the guest sets up an entry in several writes.
    fn send_pending(&mut self) {
        if !self.enabled || self.all_masked {
            return;
        }
        for entry in &mut self.entries {
            if entry.masked() || !entry.pending {
                continue;
            }
            entry.pending = false;
            let sent = entry
                .assign(&*self.wires)
                .and_then(|()| entry.event.write(1));
            if let Err(error) = sent
                && !self.failed
            {
                self.failed = true;
                eprintln!("acrn-vmm: an interrupt is lost: {error}");
            }
        }
    }

    /// Deassigns all eventfds and clears the pending bits.
    pub fn disarm(&mut self) {
        for entry in &mut self.entries {
            entry.pending = false;
            if let Err(error) = entry.deassign(&*self.wires) {
                eprintln!("acrn-vmm: cannot deassign an irqfd: {error}");
            }
        }
    }

    /// Resets to the state after power-on.
    pub fn reset(&mut self) {
        self.disarm();
        (self.enabled, self.all_masked) = (false, false);
        for entry in &mut self.entries {
            entry.registers = [0; ENTRY as usize];
            entry.registers[ENTRY_CONTROL] = ENTRY_MASKED;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::pci::config::Identity;
    use crate::devices::virtio::wires::fake::FakeWires;
    use acrn_ioctls::Width;

    const ENABLE: u64 = 0x8000;
    const MASK_ALL: u64 = 0x4000;

    struct Rig {
        msix: Msix,
        space: ConfigSpace,
        capability: usize,
        wires: Arc<FakeWires>,
    }

    impl Rig {
        fn new() -> Self {
            let wires = Arc::new(FakeWires::default());
            let msix = Msix::new(3, wires.clone()).unwrap();
            let mut space = ConfigSpace::new(&Identity {
                vendor: 1,
                device: 2,
                class: 0,
                revision: 0,
                subsystem_vendor: 0,
                subsystem: 0,
            });
            let capability = msix.add_capability(&mut space, 0x2000, 0x3000);
            Rig {
                msix,
                space,
                capability,
                wires,
            }
        }

        fn control(&mut self, value: u64) {
            let register = (self.capability + CONTROL) as u32;
            self.space.write(register, Width::Two, value);
            self.msix.control(&self.space, self.capability);
        }

        fn entry(&mut self, vector: u64, data: u32, masked: u32) {
            let at = vector * ENTRY;
            self.msix.write_table(at, &0xfee0_1000u64.to_le_bytes());
            self.msix.write_table(at + 8, &data.to_le_bytes());
            self.msix.write_table(at + 12, &masked.to_le_bytes());
        }
    }

    #[test]
    fn capability_says_what_there_is() {
        let rig = Rig::new();
        let read = |offset| {
            rig.space
                .read((rig.capability + offset) as u32, Width::Four)
        };
        assert_eq!(read(0), 0x2_0011);
        assert_eq!((read(4), read(8)), (0x2000, 0x3000));
    }

    #[test]
    fn interrupts_go_out_as_the_table_has_them() {
        let mut rig = Rig::new();
        rig.control(ENABLE);
        rig.entry(1, 0x41, 0);
        rig.msix.signal(1);
        rig.msix.signal(1);
        assert_eq!(rig.wires.take(), ["interrupt fee01000 41"]);
        assert_eq!(rig.msix.entries[1].event.read().unwrap(), 2);
        // After a change the MSI is assigned again. A count of the eventfd from before injects no
        // interrupt.
        rig.msix.signal(1);
        rig.entry(1, 0x42, 0);
        rig.msix.signal(1);
        assert_eq!(rig.wires.take(), ["no interrupt", "interrupt fee01000 42"]);
        assert_eq!(rig.msix.entries[1].event.read().unwrap(), 1);
    }

    #[test]
    fn masked_interrupts_wait() {
        let mut rig = Rig::new();
        rig.control(ENABLE);
        rig.entry(2, 0x41, 1);
        rig.msix.signal(2);
        assert!(rig.wires.take().is_empty());
        assert_eq!(rig.msix.read_pending(0), 4);
        rig.control(ENABLE | MASK_ALL);
        rig.entry(2, 0x41, 0);
        assert_eq!(rig.msix.read_pending(0), 4);
        rig.control(ENABLE);
        assert_eq!(rig.wires.take(), ["interrupt fee01000 41"]);
        assert_eq!(rig.msix.entries[2].event.read().unwrap(), 1);
        assert_eq!(rig.msix.read_pending(0), 0);
    }

    #[test]
    fn reset_takes_everything_back() {
        let mut rig = Rig::new();
        rig.control(ENABLE);
        rig.entry(0, 0x41, 0);
        rig.entry(1, 0x42, 0);
        rig.msix.signal(0);
        rig.msix.signal(1);
        rig.wires.take();
        rig.msix.reset();
        assert_eq!(rig.wires.take(), ["no interrupt", "no interrupt"]);
        assert_eq!(rig.msix.read_table(12), 1);
        rig.msix.signal(0);
        assert!(rig.wires.take().is_empty());
    }

    #[test]
    fn disabled_interrupts_are_none() {
        let mut rig = Rig::new();
        rig.entry(0, 0x41, 0);
        rig.msix.signal(0);
        rig.control(ENABLE);
        assert!(rig.wires.take().is_empty());
        rig.msix.signal(0);
        rig.control(0);
        assert_eq!(rig.wires.take(), ["interrupt fee01000 41", "no interrupt"]);
    }

    #[test]
    fn no_access_is_out_of_bounds() {
        let mut rig = Rig::new();
        rig.control(ENABLE);
        for offset in (0..0x1000).chain([u64::MAX]) {
            rig.msix.write_table(offset, &[0xff; 8]);
            let _ = rig.msix.read_table(offset);
            let _ = rig.msix.read_pending(offset / 8);
        }
        for vector in 0..=u16::MAX {
            rig.msix.signal(vector);
        }
    }
}
