// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! What guests see in CPUID: the machine's own leaves with a few bits changed, and ACRN's.

use crate::vmcb::{CR4_OSXSAVE, CR4_PKE};

/// Last hypervisor leaf.
const ACRN_MAX: u32 = 0x4000_0010;

/// EAX, EBX, ECX, EDX.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Guest {
    /// The Service VM.
    Service,
    /// A vCPU of a User VM.
    User {
        /// Its APIC id: the LAPIC id of its physical CPU.
        id: u32,
        /// vCPUs of the VM.
        count: u32,
    },
}

/// What the answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// Who asks.
    pub guest: Guest,
    /// CR4 of the vCPU.
    pub cr4: u64,
    /// Frequency of the TSC.
    pub tsc_khz: u32,
}

/// Whether `leaf` is answered without asking the machine.
pub fn is_synthetic(leaf: u32) -> bool {
    (0x4000_0000..=0x4FFF_FFFF).contains(&leaf)
}

/// The answer to `leaf`/`subleaf`, where the machine says `raw`.
pub fn emulate(leaf: u32, subleaf: u32, raw: Leaf, cx: &Environment) -> Leaf {
    let mut l = raw;
    let user = match cx.guest {
        Guest::Service => None,
        Guest::User { id, count } => Some((id, count)),
    };
    match leaf {
        0x4000_0000 => {
            let name = |s: &[u8; 4]| u32::from_le_bytes(*s);
            l = Leaf { eax: ACRN_MAX, ebx: name(b"ACRN"), ecx: name(b"ACRN"), edx: name(b"ACRN") };
        }
        // Bit 0: privileged VM.
        0x4000_0001 => l = Leaf { eax: u32::from(user.is_none()), ..Leaf::default() },
        0x4000_0010 => l = Leaf { eax: cx.tsc_khz, ..Leaf::default() },
        _ if is_synthetic(leaf) => l = Leaf::default(),
        1 => {
            // MONITOR, x2APIC off; OSXSAVE is the guest's own; hypervisor present.
            l.ecx &= !(1 << 3 | 1 << 21 | 1 << 27);
            l.ecx |= 1 << 31 | u32::from(cx.cr4 & CR4_OSXSAVE != 0) << 27;
            if let Some((id, count)) = user {
                l.ebx = (l.ebx & 0xFFFF) | count << 16 | id << 24;
                // TSC-deadline timer, as ACRN has it: no PIT is needed then.
                l.ecx |= 1 << 24;
            }
        }
        7 if subleaf == 0 => {
            // Five-level paging off; OSPKE is the guest's own.
            l.ecx &= !(1 << 16 | 1 << 4);
            l.ecx |= u32::from(cx.cr4 & CR4_PKE != 0) << 4;
        }
        0xB | 0x1F => {
            if let Some((id, count)) = user {
                l = topology(subleaf, id, count);
            }
        }
        0x8000_0001 => {
            // SVM off; in User VMs the extended topology leaves as well.
            l.ecx &= !(1 << 2);
            if user.is_some() {
                l.ecx &= !(1 << 22);
            }
        }
        0x8000_0008 => {
            if let Some((_, count)) = user {
                l.ecx = (l.ecx & !0xF0FF) | (count - 1) | 4 << 12;
            }
        }
        0x8000_000A => l = Leaf::default(),
        0x8000_001D | 0x8000_001E if user.is_some() => l = Leaf::default(),
        _ => {}
    }
    l
}

/// Extended topology: one thread a core, all cores in one package.
fn topology(subleaf: u32, id: u32, count: u32) -> Leaf {
    let (eax, ebx, ecx) = match subleaf {
        0 => (0, 1, 0x100),
        1 => (4, count, 0x201),
        n => (0, 0, n & 0xFF),
    };
    Leaf { eax, ebx, ecx, edx: id }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: Leaf = Leaf { eax: !0, ebx: !0, ecx: !0, edx: !0 };

    fn service() -> Environment {
        Environment { guest: Guest::Service, cr4: 0, tsc_khz: 1_000_000 }
    }

    #[test]
    fn acrn_leaves() {
        let l = emulate(0x4000_0000, 0, ONES, &service());
        assert_eq!((l.eax, l.ebx), (0x4000_0010, u32::from_le_bytes(*b"ACRN")));
        assert_eq!(emulate(0x4000_0001, 0, ONES, &service()).eax, 1);
        assert_eq!(emulate(0x4000_0010, 0, ONES, &service()).eax, 1_000_000);
        assert_eq!(emulate(0x4000_0100, 0, ONES, &service()), Leaf::default());
        let user = Environment { guest: Guest::User { id: 1, count: 2 }, ..service() };
        assert_eq!(emulate(0x4000_0001, 0, ONES, &user).eax, 0);
    }

    #[test]
    fn hidden_bits() {
        let l = emulate(1, 0, ONES, &service());
        assert_eq!(l.ecx & (1 << 3 | 1 << 21 | 1 << 27), 0);
        assert_ne!(l.ecx & 1 << 31, 0);
        let l = emulate(1, 0, ONES, &Environment { cr4: CR4_OSXSAVE, ..service() });
        assert_ne!(l.ecx & 1 << 27, 0);
        assert_eq!(emulate(0x8000_0001, 0, ONES, &service()).ecx & 4, 0);
        assert_eq!(emulate(7, 0, ONES, &service()).ecx & 1 << 16, 0);
        assert_eq!(emulate(0x8000_000A, 0, ONES, &service()), Leaf::default());
    }

    #[test]
    fn a_user_vcpu_has_the_apic_id_of_its_cpu() {
        let user = Environment { guest: Guest::User { id: 3, count: 4 }, ..service() };
        assert_eq!(emulate(1, 0, ONES, &user).ebx, 3 << 24 | 4 << 16 | 0xFFFF);
        assert_eq!(emulate(0xB, 1, ONES, &user), Leaf { eax: 4, ebx: 4, ecx: 0x201, edx: 3 });
        assert_eq!(emulate(0x8000_0008, 0, ONES, &user).ecx & 0xF0FF, 4 << 12 | 3);
    }
}
