// SPDX-License-Identifier: GPL-2.0

//! PM_GET_CPU_STATE: idle and frequency states of a physical CPU.

use super::vmcall;
use crate::{
    abstractions::contiguous::Contiguous,
    uapi, //
};
use kernel::prelude::*;

const PM_GET_CPU_STATE: u64 = 0x8000_0080;

/// `struct acrn_pstate_data` as words.
pub(crate) type Pstate = [u64; 6];
static_assert!(size_of::<uapi::acrn_pstate_data>() == size_of::<Pstate>());

/// `struct acrn_cstate_data` as words: the hypervisor writes its padding as well.
pub(crate) type Cstate = [u64; 4];
static_assert!(size_of::<uapi::acrn_cstate_data>() == size_of::<Cstate>());

/// A vCPU, and the number of an idle or frequency state.
///
/// The functions fail with `EPERM` if the VM runs, or if there is no such state.
#[derive(Clone, Copy)]
pub(crate) struct CpuState {
    /// The VM's id, of which the hypercall takes 8 bits.
    pub(crate) vm: u8,
    /// The vCPU.
    pub(crate) vcpu: u8,
    /// The number of the state.
    pub(crate) number: u8,
}

impl CpuState {
    /// Returns the number of frequency states.
    pub(crate) fn px_count(self) -> Result<u64> {
        // SAFETY: The hypervisor writes one byte.
        unsafe { self.get(uapi::ACRN_PMCMD_GET_PX_CNT, 0) }
    }

    /// Returns a frequency state. They are numbered from 0.
    pub(crate) fn px_data(self) -> Result<Pstate> {
        // SAFETY: The hypervisor writes a `struct acrn_pstate_data`.
        unsafe { self.get(uapi::ACRN_PMCMD_GET_PX_DATA, [0; 6]) }
    }

    /// Returns the number of idle states.
    pub(crate) fn cx_count(self) -> Result<u64> {
        // SAFETY: The hypervisor writes one byte.
        unsafe { self.get(uapi::ACRN_PMCMD_GET_CX_CNT, 0) }
    }

    /// Returns an idle state. They are numbered from 1.
    pub(crate) fn cx_data(self) -> Result<Cstate> {
        // SAFETY: The hypervisor writes a `struct acrn_cstate_data`.
        unsafe { self.get(uapi::ACRN_PMCMD_GET_CX_DATA, [0; 4]) }
    }

    /// # Safety
    ///
    /// A `T` must have room for the answer to a command of `kind`.
    unsafe fn get<T: Copy>(self, kind: u32, empty: T) -> Result<T> {
        let command = u64::from(kind)
            | u64::from(self.number) << 8
            | u64::from(self.vcpu) << 16
            | u64::from(self.vm) << 24;
        let mut answer = Contiguous::new(empty)?;
        // SAFETY: Writes to `*answer`, which is borrowed mutably and has room by the contract of
        // this function.
        unsafe { vmcall(PM_GET_CPU_STATE, command, answer.phys_mut()) }?;
        Ok(*answer)
    }
}
