// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The command line.

use std::path::PathBuf;

use acrn_ioctls::VmName;
use clap::{ArgGroup, Parser, ValueEnum};

use crate::devices::pci;
use crate::memory::HUGE_PAGE;

/// The maximum number of disks, beside a console.
const MAX_DISKS: usize = pci::MAX_FUNCTIONS - 1;

/// Runs a User VM of ACRN: creates it through the HSM driver, loads a Linux kernel or a flat
/// binary, and emulates its devices. The guest's console is standard input and output. On a
/// terminal, Ctrl-A x ends the VM.
#[derive(Parser, Debug)]
#[command(name = "acrn-vmm", version)]
#[command(group(ArgGroup::new("payload").required(true).args(["kernel", "flat"])))]
#[command(
    after_help = "Exit status: 0 when the guest powered off, or on SIGTERM, SIGINT or Ctrl-A x; \
    1 on failure; 2 on wrong usage."
)]
pub struct Args {
    /// Linux kernel to boot, a bzImage
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,

    /// Initial RAM disk for the kernel
    #[arg(long, value_name = "FILE", conflicts_with = "flat")]
    pub initramfs: Option<PathBuf>,

    /// More parameters for the kernel, after "no_timer_check tsc=reliable"; by default its console
    #[arg(long, value_name = "TEXT", conflicts_with = "flat")]
    pub cmdline: Option<String>,

    /// Flat binary to load and start in real mode
    #[arg(long, value_name = "FILE")]
    pub flat: Option<PathBuf>,

    /// Address below 1 MiB at which the flat binary is loaded and started
    #[arg(long, value_name = "ADDRESS", conflicts_with = "kernel", default_value = "0x7c00",
        value_parser = parse_flat_address)]
    pub flat_address: u32,

    /// Size of the guest's memory, with suffix K, M or G
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_memory)]
    pub memory: u64,

    /// Use 2 MiB huge pages for the guest's memory
    #[arg(long)]
    pub hugepages: bool,

    /// Number of vCPUs; they run on physical CPUs that the Service VM's kernel does not use, or
    /// else on the last ones that it uses
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "cpu_affinity",
        value_parser = clap::value_parser!(u32).range(1..=16))]
    pub cpus: u32,

    /// Physical CPUs of the VM, one for each vCPU: bit n is ACRN's CPU n, the n-th of the machine's
    /// MADT
    #[arg(long, value_name = "MASK", value_parser = parse_mask)]
    pub cpu_affinity: Option<u64>,

    /// A disk, /dev/vda and so on: a file or a block device, with the suffix ",ro" if it is
    /// read-only; repeatable
    #[arg(long = "disk", value_name = "FILE[,ro]", value_parser = parse_disk)]
    pub disks: Vec<DiskArg>,

    /// The device that receives standard input; the output of both goes to standard output
    #[arg(long, value_name = "DEVICE", default_value = "serial")]
    pub console: ConsoleArg,

    /// Name by which the hypervisor identifies the VM, 1 to 15 bytes
    #[arg(long, default_value = "acrn-vmm", value_parser = parse_name)]
    pub name: VmName,

    /// Exit when the guest resets, instead of starting it again
    #[arg(long)]
    pub no_reboot: bool,

    /// Report each port and address without a device that the guest accesses, once
    #[arg(long)]
    pub report_unbacked: bool,

    /// The driver's device
    #[arg(long, value_name = "FILE", default_value = "/dev/acrn_hsm")]
    pub device: PathBuf,
}

impl Args {
    /// Returns the parameters for the kernel.
    pub fn cmdline(&self) -> &str {
        match (&self.cmdline, self.console) {
            (Some(cmdline), _) => cmdline,
            (None, ConsoleArg::Serial) => "console=ttyS0",
            (None, ConsoleArg::Virtio) => "console=hvc0",
        }
    }

    /// Checks the number of disks, which the parser of the command line cannot.
    pub fn check(&self) -> crate::error::Result<()> {
        if self.disks.len() > MAX_DISKS {
            let message = format!("more than {MAX_DISKS} disks");
            return Err(crate::error::Error::new(message));
        }
        Ok(())
    }
}

/// A disk of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskArg {
    pub path: PathBuf,
    pub read_only: bool,
}

/// The device that receives standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConsoleArg {
    /// The first serial port, ttyS0
    Serial,
    /// A virtio console, hvc0
    Virtio,
}

fn parse_disk(text: &str) -> Result<DiskArg, String> {
    let (path, read_only) = match text.strip_suffix(",ro") {
        Some(path) => (path, true),
        None => (text, false),
    };
    if path.is_empty() {
        return Err("no file".into());
    }
    Ok(DiskArg {
        path: path.into(),
        read_only,
    })
}

fn parse_number(text: &str) -> Result<u64, String> {
    let (digits, radix) = match text.get(..2) {
        Some("0x" | "0X") => (&text[2..], 16),
        Some("0b" | "0B") => (&text[2..], 2),
        _ => (text, 10),
    };
    u64::from_str_radix(digits, radix).map_err(|error| error.to_string())
}

fn parse_memory(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let size = parse_number(digits)?
        .checked_mul(1 << shift)
        .ok_or("too large")?;
    if !size.is_multiple_of(HUGE_PAGE) || size == 0 {
        return Err("not a multiple of 2 MiB".into());
    }
    if size > 1 << 40 {
        return Err("more than 1 TiB".into());
    }
    Ok(size)
}

fn parse_mask(text: &str) -> Result<u64, String> {
    match parse_number(text)? {
        0 => Err("names no CPU".into()),
        mask if mask.count_ones() > 16 => Err("names more than 16 CPUs".into()),
        mask => Ok(mask),
    }
}

fn parse_flat_address(text: &str) -> Result<u32, String> {
    let address = parse_number(text)?;
    if address >= 1 << 20 {
        return Err("not below 1 MiB".into());
    }
    Ok(address as u32)
}

fn parse_name(text: &str) -> Result<VmName, String> {
    VmName::new(text).ok_or_else(|| "not 1 to 15 bytes".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_finds_nothing_wrong() {
        Args::command().debug_assert();
    }

    #[test]
    fn memory_sizes() {
        assert_eq!(parse_memory("256M"), Ok(256 << 20));
        assert_eq!(parse_memory("4g"), Ok(4 << 30));
        assert_eq!(parse_memory("2048K"), Ok(2 << 20));
        assert_eq!(parse_memory("0x200000"), Ok(2 << 20));
        for wrong in ["", "M", "1M", "0", "5T", "99999999999G", "2000G", "-2M"] {
            assert!(parse_memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cpus() {
        assert_eq!(parse_mask("0b1100"), Ok(12));
        assert!(parse_mask("0").is_err());
        assert!(parse_mask("0x1ffff").is_err());
        let args = |more: &[&str]| {
            Args::try_parse_from([&["acrn-vmm", "--kernel", "k"], more].concat())
                .map(|args| (args.cpus, args.cpu_affinity))
        };
        assert_eq!(args(&[]).unwrap(), (1, None));
        assert_eq!(args(&["--cpus", "2"]).unwrap(), (2, None));
        assert_eq!(args(&["--cpu-affinity", "1"]).unwrap(), (1, Some(1)));
        assert!(args(&["--cpus", "17"]).is_err());
        assert!(args(&["--cpus", "2", "--cpu-affinity", "4"]).is_err());
    }

    #[test]
    fn disks_and_console() {
        let parse = |more: &[&str]| {
            Args::try_parse_from([&["acrn-vmm", "--kernel", "k"], more].concat()).unwrap()
        };
        let args = parse(&["--disk", "a", "--disk", "b,c,ro", "--console", "virtio"]);
        let names = args.disks.iter().map(|disk| disk.path.to_str().unwrap());
        assert!(names.eq(["a", "b,c"]));
        assert_eq!(
            args.disks
                .iter()
                .map(|disk| disk.read_only)
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(args.cmdline(), "console=hvc0");
        assert_eq!(parse(&[]).cmdline(), "console=ttyS0");
        assert_eq!(parse(&["--cmdline", "x"]).cmdline(), "x");
        assert!(parse(&["--disk=a"; MAX_DISKS]).check().is_ok());
        assert!(parse(&["--disk=a"; MAX_DISKS + 1]).check().is_err());
        assert!(parse_disk(",ro").is_err());
    }

    #[test]
    fn one_payload() {
        assert!(Args::try_parse_from(["acrn-vmm"]).is_err());
        assert!(Args::try_parse_from(["acrn-vmm", "--kernel", "k", "--flat", "f"]).is_err());
        assert!(Args::try_parse_from(["acrn-vmm", "--flat", "f", "--initramfs", "i"]).is_err());
        assert!(
            Args::try_parse_from(["acrn-vmm", "--flat", "f", "--flat-address", "0x100000"])
                .is_err()
        );
    }
}
