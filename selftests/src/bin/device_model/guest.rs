// SPDX-License-Identifier: GPL-2.0

//! A guest that uses each of its devices, and then requests its end.

use acrn_ioctls::{Direction, Request, Target};
use acrn_selftests::{
    guest::load_long_mode,
    guest_memory::GuestMemory,
    interrupt_guest::{self, COUNTS, PIN, VECTORS, install_handlers},
    program::{DONE_PORT, ENTRY, assemble},
};
use acrn_uapi::acrn_vcpu_regs;
use iced_x86::{IcedError, code_asm::*};

/// Bytes of guest memory, from address 0.
pub const MEMORY: usize = 2 << 20;
/// A device's register, which the guest reads from the device model.
pub const REGISTER: u16 = 0x510;
/// The doorbell of a virtio device.
pub const DOORBELL: u64 = 0xd000_0040;
/// The vector of the device with an MSI. The other device has [`PIN`].
pub const MSI_VECTOR: u8 = VECTORS[0];

/// Guest address of the ID of the guest's local APIC.
const APIC_ID: u64 = 0x2_1000;
/// Guest address of the value that the guest has read from [`REGISTER`].
const READ: u64 = 0x2_1008;
/// Guest address of a counter that the guest increments whenever it runs after it has requested its
/// end.
const RAN_ON: u64 = 0x2_1010;

const LAPIC_ID: u64 = 0xfee0_0020;
const LAPIC_SPURIOUS: u64 = 0xfee0_00f0;
const LAPIC_ENABLE: u32 = 0x1ff;
const IOAPIC_SELECT: u64 = 0xfec0_0000;
const IOAPIC_WINDOW: u64 = 0xfec0_0010;

/// The end that the guest requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Power-off by ACPI.
    PowerOff,
    /// Power-off by ACPI repeatedly, as after a triple fault on ACRN.
    PowerOffForEver,
    /// Suspend to RAM by ACPI.
    Suspend,
    /// A system reset by the reset control register.
    SystemReset,
    /// A full reset.
    FullReset,
}

impl End {
    /// Returns a port, and the value that requests the end there.
    fn write(self) -> (u16, u16) {
        match self {
            Self::PowerOff | Self::PowerOffForEver => (0x404, 0x3400),
            Self::Suspend => (0x404, 0x2c00),
            Self::SystemReset => (0xcf9, 6),
            Self::FullReset => (0xcf9, 0xe),
        }
    }

    /// Returns whether `request` requests this end.
    pub fn is_asked_by(self, request: &Request) -> bool {
        let (port, value) = self.write();
        request.target == Target::Port(port)
            && request.direction == Direction::Write
            && request.value & 0xffff == value.into()
    }
}

/// Loads the guest into its memory. Returns its initial registers.
pub fn load(memory: &GuestMemory, end: End) -> acrn_vcpu_regs {
    install_handlers(memory);
    for vector in VECTORS {
        memory.write::<u64>(COUNTS as usize + 8 * usize::from(vector), 0);
    }
    for address in [READ, RAN_ON] {
        memory.write::<u64>(address as usize, 0);
    }
    let program = assemble(64, ENTRY, |code| program(code, end));
    load_long_mode(memory, &program)
}

/// Returns the address of an MSI to the guest. The guest stores it before its first request.
pub fn msi_address(memory: &GuestMemory) -> u64 {
    0xfee0_0000 | memory.read::<u64>(APIC_ID as usize) << 12
}

/// Returns the value that the guest has read from [`REGISTER`].
pub fn seen(memory: &GuestMemory) -> u64 {
    memory.read(READ as usize)
}

/// Returns a number that changes whenever the guest runs after it has requested its end.
pub fn activity(memory: &GuestMemory) -> u64 {
    let counts = VECTORS.map(|vector| interrupt_guest::count(memory, vector));
    memory.read::<u64>(RAN_ON as usize) + counts.iter().sum::<u64>()
}

fn program(code: &mut CodeAssembler, end: End) -> Result<(), IcedError> {
    let (pin, pin_vector) = PIN;
    code.mov(rbx, LAPIC_SPURIOUS)?;
    code.mov(dword_ptr(rbx), LAPIC_ENABLE)?;
    code.mov(rbx, LAPIC_ID)?;
    code.mov(ecx, dword_ptr(rbx))?;
    // Edge-triggered, to this vCPU.
    write_ioapic_ecx(code, 0x11 + 2 * pin)?;
    code.shr(ecx, 24)?;
    code.mov(rbx, APIC_ID)?;
    code.mov(qword_ptr(rbx), rcx)?;
    code.mov(ecx, u32::from(pin_vector))?;
    write_ioapic_ecx(code, 0x10 + 2 * pin)?;

    code.mov(dx, u32::from(DONE_PORT))?;
    code.out(dx, al)?;
    code.xor(eax, eax)?;
    code.mov(dx, u32::from(REGISTER))?;
    code.in_(eax, dx)?;
    code.mov(rbx, READ)?;
    code.mov(dword_ptr(rbx), eax)?;
    code.mov(rbx, DOORBELL)?;
    code.mov(dword_ptr(rbx), 1u32)?;
    for vector in [MSI_VECTOR, pin_vector] {
        wait_for_interrupt(code, vector)?;
    }

    let (port, value) = end.write();
    let mut again = code.create_label();
    let mut rest = code.create_label();
    code.set_label(&mut again)?;
    code.mov(dx, u32::from(port))?;
    code.mov(ax, u32::from(value))?;
    match port {
        0xcf9 => code.out(dx, al)?,
        _ => code.out(dx, ax)?,
    }
    code.set_label(&mut rest)?;
    code.mov(rbx, RAN_ON)?;
    code.inc(qword_ptr(rbx))?;
    if end == End::PowerOffForEver {
        return code.jmp(again);
    }
    code.sti()?;
    code.hlt()?;
    code.jmp(rest)
}

/// Emits HLT until there has been an interrupt with this vector.
fn wait_for_interrupt(code: &mut CodeAssembler, vector: u8) -> Result<(), IcedError> {
    let mut again = code.create_label();
    let mut there = code.create_label();
    code.mov(rbx, COUNTS + 8 * u64::from(vector))?;
    code.set_label(&mut again)?;
    code.cli()?;
    code.cmp(qword_ptr(rbx), 0)?;
    code.jne(there)?;
    code.sti()?;
    code.hlt()?;
    code.jmp(again)?;
    code.set_label(&mut there)?;
    code.sti()
}

/// Emits a write of ECX to a register of the I/O APIC.
fn write_ioapic_ecx(code: &mut CodeAssembler, register: u32) -> Result<(), IcedError> {
    code.mov(rbx, IOAPIC_SELECT)?;
    code.mov(dword_ptr(rbx), register)?;
    code.mov(rbx, IOAPIC_WINDOW)?;
    code.mov(dword_ptr(rbx), ecx)
}
