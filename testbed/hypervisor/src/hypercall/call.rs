// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A hypercall as it arrives.

use crate::phys;
use acrn_hypercall_abi::{Hypercall, ID_BASE, Parameter, PmCommand};
use alloc::vec;
use alloc::vec::Vec;
use mini_acrn_channel::ANY_VM;

/// A hypercall. Only the low byte of its id is looked at, as on ACRN.
pub struct Call {
    /// Low byte of the id.
    pub number: u8,
    /// First parameter.
    pub p1: u64,
    /// Second parameter.
    pub p2: u64,
}

impl Call {
    /// Its id.
    pub fn id(&self) -> u32 {
        ID_BASE | u32::from(self.number)
    }

    /// The hypercall of ACRN that this is, if it is one.
    pub fn hypercall(&self) -> Option<Hypercall> {
        Hypercall::from_number(self.number)
    }

    /// Where the parameter structure is, and its bytes.
    pub fn parameter(&self) -> Option<(u64, usize)> {
        Some(match self.hypercall()?.parameter()? {
            Parameter::First(len) => (self.p1, len),
            Parameter::Second(len) => (self.p2, len),
        })
    }

    /// A copy of the parameter structure, empty if there is none or it can't be read.
    pub fn snapshot(&self) -> Vec<u8> {
        let Some((addr, len)) = self.parameter() else { return Vec::new() };
        let mut bytes = vec![0; len];
        match phys::is_service_ram(addr, len as u64).then(|| phys::read_bytes(addr, &mut bytes)) {
            Some(Some(())) => bytes,
            _ => Vec::new(),
        }
    }

    /// The VM that the call is about.
    pub fn target(&self, parameter: &[u8]) -> u16 {
        use Hypercall::{
            CreateVm, PmGetCpuState, ServiceVmOfflineCpu, SetCallbackVector, SetMemoryRegions,
        };
        match self.hypercall() {
            Some(ServiceVmOfflineCpu | SetCallbackVector | CreateVm) => ANY_VM,
            Some(SetMemoryRegions) => {
                parameter.first_chunk().map_or(ANY_VM, |b| u16::from_le_bytes(*b))
            }
            Some(PmGetCpuState) => PmCommand(self.p1).vmid(),
            _ => self.p1 as u16,
        }
    }
}
