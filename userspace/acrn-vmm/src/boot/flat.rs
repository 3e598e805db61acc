// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A flat binary, started in real mode.

use std::fs;
use std::path::{Path, PathBuf};

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use acrn_ioctls::uapi::acrn_vcpu_regs;

use super::registers;
use crate::error::{Context, Result};

/// The binary and its address.
#[derive(Debug)]
pub struct Flat {
    path: PathBuf,
    code: Vec<u8>,
    address: u32,
}

impl Flat {
    pub fn open(path: &Path, address: u32) -> Result<Self> {
        let code = fs::read(path).context(|| format!("flat binary {}", path.display()))?;
        Ok(Flat {
            path: path.to_owned(),
            code,
            address,
        })
    }

    pub fn load(&self, memory: &GuestMemoryMmap) -> Result<acrn_vcpu_regs> {
        memory
            .write_slice(&self.code, GuestAddress(self.address.into()))
            .context(|| format!("loading {} at {:#x}", self.path.display(), self.address))?;
        Ok(registers::real_mode(self.address))
    }
}
