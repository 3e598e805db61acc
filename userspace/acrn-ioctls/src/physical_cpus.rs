// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The numbers of the machine's CPUs in ACRN.

use std::fs;
use std::io;

/// The MADT of the firmware, as the Service VM's kernel exposes it.
const MADT: &str = "/sys/firmware/acpi/tables/APIC";
const CPUINFO: &str = "/proc/cpuinfo";

/// The offset of the first entry in a MADT.
const MADT_HEADER: usize = 44;
/// The type of a local APIC entry: type, length, processor, APIC id, flags.
const LOCAL_APIC: u8 = 0;
const LOCAL_APIC_LEN: usize = 8;
const ENABLED: u8 = 1;

/// The number of CPUs that fit into a mask.
const MASK_BITS: usize = 64;

/// The machine's physical CPUs, in ACRN's order: the order of the enabled local APICs in the MADT.
///
/// The index of a CPU in this order is its number in ACRN.
/// [`VmConfig::cpu_affinity`](crate::VmConfig) is a mask of such numbers. The APIC id of a vCPU is
/// the APIC id of its physical CPU: in CPUID, in the local APIC and as the destination of
/// interrupts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhysicalCpus {
    apic_ids: Vec<u8>,
    /// The CPUs on which the Service VM's kernel runs.
    used: u64,
}

impl PhysicalCpus {
    /// Reads the CPUs of the machine, in the Service VM.
    ///
    /// # Errors
    ///
    /// Fails if the MADT or `/proc/cpuinfo` cannot be read.
    pub fn of_machine() -> io::Result<Self> {
        let read = |path: &str| {
            fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
        };
        let cpuinfo = read(CPUINFO)?;
        let cpuinfo = String::from_utf8_lossy(&cpuinfo);
        Ok(Self::from_tables(&read(MADT)?, &cpuinfo))
    }

    /// Returns the CPUs that a MADT and the kernel's `/proc/cpuinfo` list.
    pub fn from_tables(madt: &[u8], cpuinfo: &str) -> Self {
        let apic_ids = apic_ids(madt);
        let online = online_apic_ids(cpuinfo);
        let cpus = apic_ids.iter().take(MASK_BITS).enumerate();
        let used = cpus.filter(|(_, id)| online.contains(id));
        Self {
            used: used.fold(0, |mask, (cpu, _)| mask | 1 << cpu),
            apic_ids,
        }
    }

    /// Returns the APIC id of physical CPU `cpu`.
    pub fn apic_id(&self, cpu: usize) -> Option<u8> {
        self.apic_ids.get(cpu).copied()
    }

    /// Returns a mask of all CPUs.
    pub fn all(&self) -> u64 {
        (0..self.apic_ids.len().min(MASK_BITS)).fold(0, |mask, cpu| mask | 1 << cpu)
    }

    /// Returns a mask of the CPUs on which the Service VM's kernel does not run.
    pub fn unused(&self) -> u64 {
        self.all() & !self.used
    }

    /// Chooses CPUs for `vcpus` vCPUs, and returns them as a mask, or `None` if there are too few.
    ///
    /// The CPUs on which the Service VM's kernel does not run come first, in ascending order. The
    /// CPUs that ACRN must share among VMs follow, in descending order.
    pub fn choose(&self, vcpus: u32) -> Option<u64> {
        let from = |mask: u64| (0..MASK_BITS).filter(move |cpu| mask & 1 << cpu != 0);
        let shared = from(self.used).collect::<Vec<_>>().into_iter().rev();
        let chosen = from(self.unused()).chain(shared).take(vcpus as usize);
        let mask: u64 = chosen.fold(0, |mask, cpu| mask | 1 << cpu);
        (mask.count_ones() == vcpus).then_some(mask)
    }
}

/// Returns the APIC ids of the enabled CPUs.
fn apic_ids(madt: &[u8]) -> Vec<u8> {
    let mut ids = Vec::new();
    let mut rest = madt.get(MADT_HEADER..).unwrap_or_default();
    while let &[kind, len, ..] = rest {
        let len = usize::from(len);
        let Some(entry) = rest.get(..len).filter(|entry| entry.len() >= 2) else {
            break;
        };
        if kind == LOCAL_APIC && len >= LOCAL_APIC_LEN && entry[4] & ENABLED != 0 {
            ids.push(entry[3]);
        }
        rest = &rest[len..];
    }
    ids
}

/// Returns the APIC ids of the online CPUs.
fn online_apic_ids(cpuinfo: &str) -> Vec<u8> {
    let values = cpuinfo.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "apicid").then(|| value.trim())
    });
    values.filter_map(|value| value.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a MADT with these local APICs (APIC id, flags), each followed by an I/O APIC.
    fn madt(apics: &[(u8, u8)]) -> Vec<u8> {
        let mut table = vec![0; MADT_HEADER];
        for (number, (id, flags)) in apics.iter().enumerate() {
            table.extend([LOCAL_APIC, 8, number as u8, *id, *flags, 0, 0, 0]);
            table.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        }
        table
    }

    fn cpuinfo(ids: &[u8]) -> String {
        let cpu = |id| format!("processor\t: 0\napicid\t\t: {id}\ninitial apicid\t: 9\n\n");
        ids.iter().map(cpu).collect()
    }

    #[test]
    fn cpus_are_numbered_by_enabled_apics() {
        let cpus =
            PhysicalCpus::from_tables(&madt(&[(1, 1), (8, 0), (4, 1), (6, 1)]), &cpuinfo(&[1, 6]));
        assert_eq!(
            [0, 1, 2].map(|cpu| cpus.apic_id(cpu)),
            [Some(1), Some(4), Some(6)]
        );
        assert_eq!(cpus.apic_id(3), None);
        assert_eq!((cpus.all(), cpus.unused()), (0b111, 0b010));
    }

    #[test]
    fn unused_cpus_come_first() {
        let apics: Vec<_> = (0..4).map(|id| (id, 1)).collect();
        let cpus = PhysicalCpus::from_tables(&madt(&apics), &cpuinfo(&[0, 1]));
        let chosen = [1, 2, 3, 4, 5].map(|count| cpus.choose(count));
        let expected = [Some(0b100), Some(0b1100), Some(0b1110), Some(0b1111), None];
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_single_cpu_is_shared() {
        let cpus = PhysicalCpus::from_tables(&madt(&[(0, 1)]), &cpuinfo(&[0]));
        assert_eq!((cpus.choose(1), cpus.choose(2)), (Some(1), None));
    }

    #[test]
    fn a_broken_table_ends_the_walk() {
        let mut table = madt(&[(3, 1), (4, 1)]);
        table[MADT_HEADER + 8 + 12 + 1] = 0;
        assert_eq!(apic_ids(&table), [3]);
        assert!(apic_ids(&table[..20]).is_empty());
        let long = madt(&[(3, 1)]);
        assert!(apic_ids(&long[..MADT_HEADER + 4]).is_empty());
    }
}
