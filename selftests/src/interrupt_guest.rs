// SPDX-License-Identifier: GPL-2.0

//! A guest that counts interrupts.

use std::{thread, time::Duration};

use acrn_ioctls::Vm;
use acrn_uapi::ACRN_IOREQ_STATE_FREE;
use iced_x86::{IcedError, code_asm::*};

use crate::{
    guest::{Guest, set_handler},
    guest_memory::GuestMemory,
    harness::patience,
    program::{DONE_PORT, ENTRY, assemble},
    waiter::until,
};

/// Vectors that the guest has a handler for.
pub const VECTORS: [u8; 4] = [0x31, 0x45, 0x80, 0xef];
/// A pin of the I/O APIC, and the vector that it raises.
pub const PIN: (u32, u8) = (5, 0x45);
/// A masked pin of the I/O APIC, and the vector that it would raise.
pub const MASKED_PIN: (u32, u8) = (7, 0x80);

/// How long an interrupt may take. It does not measure speed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Guest address of the interrupt counters, 8 bytes for each vector from 0 on.
pub const COUNTS: u64 = 0x2_0000;
/// Guest address at which the guest stores the ID register of its local APIC.
const APIC_ID: u64 = 0x2_1000;
/// Address of the first handler.
const HANDLERS: u64 = 0x1_8000;
const HANDLER_SIZE: u64 = 64;

const LAPIC_ID: u64 = 0xfee0_0020;
const LAPIC_EOI: u64 = 0xfee0_00b0;
const LAPIC_SPURIOUS: u64 = 0xfee0_00f0;
const LAPIC_ENABLE: u32 = 0x1ff;
const IOAPIC_SELECT: u64 = 0xfec0_0000;
const IOAPIC_WINDOW: u64 = 0xfec0_0010;
const IOAPIC_MASKED: u32 = 1 << 16;

/// The guest's activity between interrupts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// HLT.
    Halt,
    /// A loop that does not leave the guest.
    Spin,
}

/// A running guest with interrupts enabled.
pub struct InterruptGuest(Guest, Rest);

impl InterruptGuest {
    /// Starts the guest and waits until it is ready.
    pub fn start(cpus: u64, rest: Rest) -> Self {
        let guest = Guest::long_mode(cpus, &assemble(64, ENTRY, |code| main(code, rest)));
        install_handlers(&guest.memory);
        let listener = Self(guest, rest);
        listener.until_ready();
        listener
    }

    /// Resets the paused guest, starts it again with its counters unchanged, and waits until it is
    /// ready.
    pub fn start_again(&self) {
        self.0.vm.reset().expect("RESET_VM");
        self.0
            .load_long_mode(&assemble(64, ENTRY, |code| main(code, self.1)));
        self.until_ready();
    }

    fn until_ready(&self) {
        self.0.vm.start().expect("START_VM");
        let asked = self.0.serve(1, |_, _| 0);
        assert_eq!(asked, [], "requests before the guest is ready");
    }

    /// The VM.
    pub fn vm(&self) -> &Vm {
        &self.0.vm
    }

    /// Returns the MSI address of the vCPU.
    pub fn msi(&self) -> u64 {
        let id: u32 = self.0.memory.read(APIC_ID as usize);
        0xfee0_0000 | u64::from(id >> 24) << 12
    }

    /// Returns how many interrupts with this vector the guest has counted.
    pub fn count(&self, vector: u8) -> u64 {
        count(&self.0.memory, vector)
    }

    /// Waits until the guest has counted `count` interrupts with this vector.
    pub fn wait(&self, vector: u8, count: u64) {
        let mut patience = patience(PATIENCE);
        while self.count(vector) < count {
            let seen = self.count(vector);
            assert!(
                !patience.is_over(),
                "{seen} of {count} interrupts with vector {vector:#x}"
            );
            thread::sleep(Duration::from_millis(1));
        }
        self.assert_count(vector, count);
    }

    /// Waits until the guest has handled all earlier interrupts, by means of an interrupt of the
    /// lowest priority, which comes last.
    pub fn settle(&self) {
        let lowest = VECTORS[0];
        let next = self.count(lowest) + 1;
        let sent = self.vm().inject_msi(self.msi(), lowest.into());
        assert_eq!(sent, Ok(()), "INJECT_MSI");
        self.wait(lowest, next);
    }

    /// Waits until a vCPU's slot is free for a request.
    pub fn until_free(&self, vcpu: u32) {
        let slot = self.0.page.slot(vcpu).expect("a slot");
        until("a slot is free", || slot.state() == ACRN_IOREQ_STATE_FREE);
    }

    /// Closes the file and leaves the VM to the driver.
    pub fn close(self) {
        self.0.close();
    }

    /// Panics unless the guest has counted `count` interrupts with this vector.
    #[track_caller]
    pub fn assert_count(&self, vector: u8, count: u64) {
        assert_eq!(
            self.count(vector),
            count,
            "interrupts with vector {vector:#x}"
        );
    }
}

/// Installs a handler that counts for each of [`VECTORS`] in guest memory.
pub fn install_handlers(memory: &GuestMemory) {
    for (vector, address) in VECTORS
        .into_iter()
        .zip((HANDLERS..).step_by(HANDLER_SIZE as usize))
    {
        let handler = assemble(64, address, |code| handle(code, vector));
        assert!(handler.len() as u64 <= HANDLER_SIZE);
        memory.write_bytes(address as usize, &handler);
        set_handler(memory, vector, address);
    }
}

/// Returns how many interrupts with this vector are counted in guest memory.
pub fn count(memory: &GuestMemory, vector: u8) -> u64 {
    memory.read(COUNTS as usize + 8 * usize::from(vector))
}

fn handle(code: &mut CodeAssembler, vector: u8) -> Result<(), IcedError> {
    code.push(rax)?;
    code.mov(rax, COUNTS + 8 * u64::from(vector))?;
    code.inc(qword_ptr(rax))?;
    code.mov(rax, LAPIC_EOI)?;
    code.mov(dword_ptr(rax), 0u32)?;
    code.pop(rax)?;
    code.iretq()
}

fn main(code: &mut CodeAssembler, rest: Rest) -> Result<(), IcedError> {
    code.mov(rbx, LAPIC_SPURIOUS)?;
    code.mov(dword_ptr(rbx), LAPIC_ENABLE)?;
    code.mov(rbx, LAPIC_ID)?;
    code.mov(r8d, dword_ptr(rbx))?;
    code.mov(rbx, APIC_ID)?;
    code.mov(dword_ptr(rbx), r8d)?;
    for ((pin, vector), mask) in [(PIN, 0), (MASKED_PIN, IOAPIC_MASKED)] {
        let register = 0x10 + 2 * pin;
        // Edge-triggered, active high, to this vCPU. The destination has the position that the ID
        // has in the ID register.
        write_ioapic(code, register + 1, r8d)?;
        code.mov(ecx, mask | u32::from(vector))?;
        write_ioapic(code, register, ecx)?;
    }
    code.mov(dx, u32::from(DONE_PORT))?;
    code.out(dx, al)?;
    let mut again = code.create_label();
    code.sti()?;
    code.set_label(&mut again)?;
    match rest {
        Rest::Halt => code.hlt()?,
        Rest::Spin => code.pause()?,
    }
    code.jmp(again)
}

fn write_ioapic(
    code: &mut CodeAssembler,
    register: u32,
    value: AsmRegister32,
) -> Result<(), IcedError> {
    code.mov(rbx, IOAPIC_SELECT)?;
    code.mov(dword_ptr(rbx), register)?;
    code.mov(rbx, IOAPIC_WINDOW)?;
    code.mov(dword_ptr(rbx), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_assemble_and_fit() {
        for vector in VECTORS {
            let handler = assemble(64, HANDLERS, |code| handle(code, vector));
            assert!(handler.len() as u64 <= HANDLER_SIZE);
        }
        for rest in [Rest::Halt, Rest::Spin] {
            assert!(assemble(64, ENTRY, |code| main(code, rest)).len() < 0x1000);
        }
    }
}
