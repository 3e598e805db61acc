// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The physical CPUs of the VM, and the APIC ids of its vCPUs.

use acrn_ioctls::PhysicalCpus;

use crate::cli::Args;
use crate::error::{Context, Error, Result};

/// The physical CPUs of the vCPUs.
#[derive(Debug, PartialEq, Eq)]
pub struct Cpus {
    /// Bit n is CPU n. vCPU k runs on the k-th CPU in the mask.
    pub affinity: u64,
    /// The APIC ids of the vCPUs, which are those of their physical CPUs.
    pub apic_ids: Vec<u8>,
}

impl Cpus {
    /// Returns the CPUs of the command line, or as many as it requests.
    pub fn choose(args: &Args) -> Result<Self> {
        let machine = PhysicalCpus::of_machine().context(|| "looking for physical CPUs")?;
        Self::of(&machine, args)
    }

    fn of(machine: &PhysicalCpus, args: &Args) -> Result<Self> {
        let affinity = match args.cpu_affinity {
            Some(affinity) => affinity,
            None => machine.choose(args.cpus).ok_or_else(|| {
                let there = machine.all().count_ones();
                Error::new(format!("{} vCPUs: the machine has {there} CPUs", args.cpus))
            })?,
        };
        let named = (0..u64::BITS as usize).filter(|cpu| affinity & 1 << cpu != 0);
        let apic_id = |cpu| {
            let no_cpu = || Error::new(format!("physical CPU {cpu}: the machine has none"));
            machine.apic_id(cpu).ok_or_else(no_cpu)
        };
        Ok(Cpus {
            affinity,
            apic_ids: named.map(apic_id).collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// Returns CPUs with the APIC ids 1, 2 and 4. The Service VM's kernel uses the first.
    fn machine() -> PhysicalCpus {
        let mut madt = vec![0; 44];
        for id in [1, 2, 4] {
            madt.extend([0, 8, 0, id, 1, 0, 0, 0]);
        }
        PhysicalCpus::from_tables(&madt, "apicid\t\t: 1\n")
    }

    fn choose(more: &[&str]) -> std::result::Result<(u64, Vec<u8>), String> {
        let args = Args::parse_from([&["acrn-vmm", "--kernel", "k"], more].concat());
        let cpus = Cpus::of(&machine(), &args).map_err(|error| error.to_string())?;
        Ok((cpus.affinity, cpus.apic_ids))
    }

    #[test]
    fn vcpus_have_the_apic_ids_of_their_cpus() {
        assert_eq!(choose(&[]), Ok((0b10, vec![2])));
        assert_eq!(choose(&["--cpus", "3"]), Ok((0b111, vec![1, 2, 4])));
        assert_eq!(choose(&["--cpu-affinity", "5"]), Ok((0b101, vec![1, 4])));
    }

    #[test]
    fn missing_cpus_are_refused() {
        let error = choose(&["--cpus", "4"]).unwrap_err();
        assert_eq!(error, "4 vCPUs: the machine has 3 CPUs");
        let error = choose(&["--cpu-affinity", "8"]).unwrap_err();
        assert_eq!(error, "physical CPU 3: the machine has none");
    }
}
