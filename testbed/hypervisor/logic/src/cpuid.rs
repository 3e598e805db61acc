// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! CPUID of guests: the leaves of the machine with a few bits changed, and ACRN's leaves.

use crate::vmcb::{CR4_OSXSAVE, CR4_PKE};

/// Last hypervisor leaf.
const ACRN_MAX: u32 = 0x4000_0010;

/// The registers that CPUID returns.
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

/// The guest that executes CPUID.
#[derive(Clone, Copy, Debug)]
pub enum Guest {
    /// The Service VM.
    Service,
    /// A vCPU of a User VM.
    User {
        /// APIC id, which is the LAPIC id of the physical CPU.
        id: u32,
        /// Number of vCPUs of the VM.
        count: u32,
    },
}

/// The state on which a leaf depends.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// The guest.
    pub guest: Guest,
    /// CR4 of the vCPU.
    pub cr4: u64,
    /// Frequency of the TSC in kHz.
    pub tsc_khz: u32,
}

/// Returns whether `leaf` does not depend on the machine.
pub fn is_synthetic(leaf: u32) -> bool {
    (0x4000_0000..=0x4FFF_FFFF).contains(&leaf)
}

/// Returns `leaf` and `subleaf` for a guest, where `raw` is the leaf of the machine.
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
            // MONITOR and x2APIC are hidden, OSXSAVE is the guest's, and a hypervisor is present.
            l.ecx &= !(1 << 3 | 1 << 21 | 1 << 27);
            l.ecx |= 1 << 31 | u32::from(cx.cr4 & CR4_OSXSAVE != 0) << 27;
            if let Some((id, count)) = user {
                l.ebx = (l.ebx & 0xFFFF) | count << 16 | id << 24;
                // The TSC-deadline timer is present as on ACRN, so that a guest needs no PIT.
                l.ecx |= 1 << 24;
            }
        }
        7 if subleaf == 0 => {
            // Five-level paging is hidden, and OSPKE is the guest's.
            l.ecx &= !(1 << 16 | 1 << 4);
            l.ecx |= u32::from(cx.cr4 & CR4_PKE != 0) << 4;
        }
        0xB | 0x1F => {
            if let Some((id, count)) = user {
                l = topology(subleaf, id, count);
            }
        }
        0x8000_0001 => {
            // SVM is hidden, in User VMs also the extended topology leaves.
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

/// Returns a leaf of the extended topology: one thread per core, all cores in one package.
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
