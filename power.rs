// SPDX-License-Identifier: GPL-2.0

//! PM_GET_CPU_STATE: idle and frequency states of the CPUs of a VM, as defined by ACPI.

use crate::{
    hypercall::{
        CpuState,
        Cstate,
        Pstate,
        VmId, //
    },
    uapi::{
        self,
        Abi, //
    },
};
use kernel::{
    bitfield,
    prelude::*,
    uaccess::UserSlice, //
};

bitfield! {
    /// A command of user space.
    pub(crate) struct PmCommand(u64) {
        31:24 vm;
        23:16 vcpu;
        15:8 number;
        7:0 kind;
    }
}

/// The answer to a [`PmCommand`].
pub(crate) enum Answer {
    Count(u64),
    Pstate(Pstate),
    Cstate(Cstate),
}

impl PmCommand {
    /// Runs the command for the VM `vm`.
    ///
    /// Fails with `EINVAL` if the kind is unknown, or the command is for another VM.
    pub(crate) fn run(self, vm: VmId) -> Result<Answer> {
        if self.vm().get() != u64::from(vm) {
            return Err(EINVAL);
        }
        // All have 8 bits.
        let state = CpuState {
            vm: self.vm().get() as u8,
            vcpu: self.vcpu().get() as u8,
            number: self.number().get() as u8,
        };
        match self.kind().get() as u32 {
            uapi::ACRN_PMCMD_GET_PX_CNT => state.px_count().map(Answer::Count),
            uapi::ACRN_PMCMD_GET_PX_DATA => state.px_data().map(Answer::Pstate),
            uapi::ACRN_PMCMD_GET_CX_CNT => state.cx_count().map(Answer::Count),
            uapi::ACRN_PMCMD_GET_CX_DATA => state.cx_data().map(Answer::Cstate),
            _ => Err(EINVAL),
        }
    }
}

impl Answer {
    /// Writes the answer to user space. `slice` returns a slice of the given length.
    pub(crate) fn write(self, slice: impl Fn(usize) -> UserSlice, abi: Abi) -> Result {
        match self {
            Self::Count(count) => slice(size_of_val(&count)).writer().write(&count),
            Self::Pstate(state) => slice(size_of_val(&state)).writer().write(&state),
            Self::Cstate(state) => {
                let mut writer = slice(size_of_val(&state)).writer();
                match abi {
                    Abi::Native => writer.write(&state),
                    Abi::I386 => {
                        let [register, rest_and_type, latency, power] = state;
                        writer.write(&register)?;
                        writer.write(&rest_and_type)?;
                        // Without the gap that aligns `power`.
                        writer.write(&(latency as u32))?;
                        writer.write(&power)
                    }
                }
            }
        }
    }
}
