// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The initial state of the guest: code and data in memory, and the registers of vCPU 0.

mod flat;
mod linux;
mod registers;

use vm_memory::GuestMemoryMmap;

use acrn_ioctls::uapi::acrn_vcpu_regs;

use crate::cli::Args;
use crate::error::{Error, Result};

pub use flat::Flat;
pub use linux::Linux;

/// The program that the guest runs.
#[derive(Debug)]
pub enum Payload {
    Linux(Linux),
    Flat(Flat),
}

impl Payload {
    /// Opens the files of the command line.
    pub fn open(args: &Args) -> Result<Self> {
        if let Some(kernel) = &args.kernel {
            let initramfs = args.initramfs.as_deref();
            return Linux::open(kernel, initramfs, args.cmdline()).map(Payload::Linux);
        }
        match &args.flat {
            Some(path) => Flat::open(path, args.flat_address).map(Payload::Flat),
            None => Err(Error::new("nothing to run: neither --kernel nor --flat")),
        }
    }

    /// Loads the program into guest memory, for vCPUs with these APIC ids. Returns the registers of
    /// vCPU 0.
    pub fn load(&mut self, memory: &GuestMemoryMmap, apic_ids: &[u8]) -> Result<acrn_vcpu_regs> {
        match self {
            Payload::Linux(linux) => linux.load(memory, apic_ids),
            Payload::Flat(flat) => flat.load(memory),
        }
    }
}
