// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! What the guest starts with: code and data in memory, and the registers of vCPU 0.

mod flat;
mod linux;
mod registers;

use vm_memory::GuestMemoryMmap;

use acrn_ioctls::uapi::acrn_vcpu_regs;

use crate::cli::Args;
use crate::error::{Error, Result};

pub use flat::Flat;
pub use linux::Linux;

/// What to run.
#[derive(Debug)]
pub enum Payload {
    Linux(Linux),
    Flat(Flat),
}

impl Payload {
    /// Opens the files that the command line names.
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

    /// Puts it into guest memory, for vCPUs with these APIC ids, and says how vCPU 0 is to start.
    pub fn load(&mut self, memory: &GuestMemoryMmap, apic_ids: &[u8]) -> Result<acrn_vcpu_regs> {
        match self {
            Payload::Linux(linux) => linux.load(memory, apic_ids),
            Payload::Flat(flat) => flat.load(memory),
        }
    }
}
