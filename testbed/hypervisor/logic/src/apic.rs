// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Interrupt messages among the vCPUs of a VM: their destinations, and the commands of the ICR (AMD
//! APM vol. 2, 16.5 and 16.6).

/// First legal vector of an interrupt.
pub const FIRST_VECTOR: u8 = 16;
/// Destination of an IPI to all. In an MSI or a message of the I/O APIC it is a physical id like
/// any other.
const BROADCAST: u8 = 0xFF;

/// A set of vCPUs, bit n for vCPU n.
pub type Targets = u32;

/// The registers of a vCPU's local APIC that address it in logical mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Logical {
    /// Logical destination register.
    pub ldr: u32,
    /// Destination format register.
    pub dfr: u32,
}

impl Default for Logical {
    fn default() -> Self {
        Self { ldr: 0, dfr: u32::MAX }
    }
}

impl Logical {
    fn matches(self, dest: u8) -> bool {
        let own = (self.ldr >> 24) as u8;
        match self.dfr >> 28 {
            // Cluster mode: the high nibble is a number, the low nibble a set.
            0 => own >> 4 == dest >> 4 && own & dest & 0xF != 0,
            _ => own & dest != 0,
        }
    }
}

/// The addresses of a vCPU's local APIC.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Address {
    /// APIC id: the LAPIC id of the vCPU's physical CPU.
    pub id: u8,
    /// The registers for logical mode.
    pub logical: Logical,
}

fn all(vcpus: &[Address]) -> Targets {
    (0..vcpus.len()).fold(0, |targets, i| targets | 1 << i)
}

/// Returns the vCPUs of `vcpus` with the destination `dest`.
pub fn resolve(dest: u8, logical: bool, vcpus: &[Address]) -> Targets {
    let matches = |a: &Address| if logical { a.logical.matches(dest) } else { a.id == dest };
    let targets = vcpus.iter().enumerate().filter(|(_, a)| matches(a));
    targets.fold(0, |targets, (i, _)| targets | 1 << i)
}

/// A command of the ICR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ipi {
    /// An interrupt to all targets.
    Fixed(u8),
    /// An interrupt to one of the targets.
    Lowest(u8),
    /// An NMI.
    Nmi,
    /// INIT.
    Init,
    /// A start-up IPI with this page.
    Startup(u8),
}

/// Decodes a write of vCPU `me` to the ICR. Returns `None` for a command without effect: INIT level
/// de-assert, reserved modes, vectors below 16.
pub fn ipi(low: u32, high: u32, me: usize, vcpus: &[Address]) -> Option<(Ipi, Targets)> {
    let all_vcpus = all(vcpus);
    let targets = match (low >> 18 & 3, (high >> 24) as u8) {
        (0, BROADCAST) => all_vcpus,
        (0, dest) => resolve(dest, low & 1 << 11 != 0, vcpus),
        (1, _) => 1 << me,
        (2, _) => all_vcpus,
        _ => all_vcpus & !(1 << me),
    };
    let vector = low as u8;
    let kind = match low >> 8 & 7 {
        0 if vector >= FIRST_VECTOR => Ipi::Fixed(vector),
        1 if vector >= FIRST_VECTOR => Ipi::Lowest(vector),
        4 => Ipi::Nmi,
        // INIT level de-assert, which old machines need after INIT.
        5 if low & (1 << 15) != 0 && low & (1 << 14) == 0 => return None,
        5 => Ipi::Init,
        6 => Ipi::Startup(vector),
        _ => return None,
    };
    Some((kind, targets))
}

/// An interrupt to a VM, from an MSI or a pin of the I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Vector.
    pub vector: u8,
    /// Destination.
    pub dest: u8,
    /// The destination is logical.
    pub logical: bool,
    /// Delivery mode: 0 fixed, 1 lowest priority, 7 ExtINT, ...
    pub mode: u8,
}

impl Message {
    /// Decodes an MSI. Returns `None` if `addr` is not an address of MSIs.
    pub fn from_msi(addr: u64, data: u64) -> Option<Self> {
        (addr >> 20 & 0xFFF == 0xFEE).then_some(Self {
            vector: data as u8,
            dest: (addr >> 12) as u8,
            logical: addr & 4 != 0,
            mode: (data >> 8) as u8 & 7,
        })
    }

    /// Returns whether a vCPU takes the message as an interrupt.
    pub fn is_interrupt(self) -> bool {
        matches!(self.mode, 0 | 1 | 7) && self.vector >= FIRST_VECTOR
    }

    /// Returns the vCPUs that get the message. With lowest priority it is one vCPU.
    pub fn targets(self, vcpus: &[Address]) -> Targets {
        let all = resolve(self.dest, self.logical, vcpus);
        if self.mode == 1 { all & all.wrapping_neg() } else { all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of a VM on the physical CPUs with the LAPIC ids 3, 4 and 7.
    const FLAT: [Address; 3] = [
        Address { id: 3, logical: Logical { ldr: 1 << 24, dfr: u32::MAX } },
        Address { id: 4, logical: Logical { ldr: 2 << 24, dfr: u32::MAX } },
        Address { id: 7, logical: Logical { ldr: 4 << 24, dfr: u32::MAX } },
    ];

    #[test]
    fn destinations() {
        assert_eq!(resolve(4, false, &FLAT), 2);
        assert_eq!(resolve(1, false, &FLAT), 0, "the number of a vCPU is no APIC id");
        assert_eq!(resolve(5, true, &FLAT), 5);
        assert_eq!(resolve(0xFF, true, &FLAT), 7);
        assert_eq!(resolve(0xFF, false, &FLAT), 0);
        let address = |ldr| Address { id: 0, logical: Logical { ldr, dfr: 0 } };
        let cluster = [address(0x11 << 24), address(0x21 << 24)];
        assert_eq!(resolve(0x21, true, &cluster), 2);
    }

    #[test]
    fn commands() {
        assert_eq!(ipi(0x4030, 7 << 24, 0, &FLAT), Some((Ipi::Fixed(0x30), 4)));
        assert_eq!(ipi(0x4030, 0xFF << 24, 0, &FLAT), Some((Ipi::Fixed(0x30), 7)));
        assert_eq!(ipi(0xC_4030, 0, 1, &FLAT), Some((Ipi::Fixed(0x30), 5)));
        assert_eq!(ipi(0x4_4030, 0, 1, &FLAT), Some((Ipi::Fixed(0x30), 2)));
        assert_eq!(ipi(0xC500, 4 << 24, 0, &FLAT), Some((Ipi::Init, 2)));
        assert_eq!(ipi(0x8500, 4 << 24, 0, &FLAT), None);
        assert_eq!(ipi(0x4699, 4 << 24, 0, &FLAT), Some((Ipi::Startup(0x99), 2)));
        assert_eq!(ipi(0x4003, 0, 0, &FLAT), None, "vectors below 16 are illegal");
    }

    #[test]
    fn messages() {
        assert_eq!(Message::from_msi(0xFED0_0000, 0x40), None);
        let m = Message::from_msi(0xFEE0_3004, 0x0141).unwrap();
        assert_eq!(m, Message { vector: 0x41, dest: 3, logical: true, mode: 1 });
        assert_eq!(m.targets(&FLAT), 1);
        assert!(m.is_interrupt());
        assert!(!Message { mode: 4, ..m }.is_interrupt());
        assert!(!Message { vector: 3, ..m }.is_interrupt());
    }
}
