// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The registers of a hypercall.

use crate::phys;
use acrn_hypercall_abi::{Hypercall, ID_BASE, Parameter, PmCommand};
use alloc::vec;
use alloc::vec::Vec;
use mini_acrn_channel::ANY_VM;

/// A hypercall. Only the low byte of its id counts, as on ACRN.
pub struct Call {
    /// Low byte of the id.
    pub number: u8,
    /// First parameter.
    pub p1: u64,
    /// Second parameter.
    pub p2: u64,
}

impl Call {
    /// Returns the id.
    pub fn id(&self) -> u32 {
        ID_BASE | u32::from(self.number)
    }

    /// Returns the hypercall of ACRN with this number, if there is one.
    pub fn hypercall(&self) -> Option<Hypercall> {
        Hypercall::from_number(self.number)
    }

    /// Returns the address and the length of the parameter structure, if there is one.
    pub fn parameter(&self) -> Option<(u64, usize)> {
        Some(match self.hypercall()?.parameter()? {
            Parameter::First(len) => (self.p1, len),
            Parameter::Second(len) => (self.p2, len),
        })
    }

    /// Returns a copy of the parameter structure. The copy is empty if there is no structure or it
    /// cannot be read.
    pub fn snapshot(&self) -> Vec<u8> {
        let Some((addr, len)) = self.parameter() else { return Vec::new() };
        let mut bytes = vec![0; len];
        match phys::is_service_ram(addr, len as u64).then(|| phys::read_bytes(addr, &mut bytes)) {
            Some(Some(())) => bytes,
            _ => Vec::new(),
        }
    }

    /// Returns the id of the VM that the hypercall is about, [`ANY_VM`] if there is none.
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
