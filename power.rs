// SPDX-License-Identifier: GPL-2.0

//! PM_GET_CPU_STATE: idle and frequency states of the CPUs of a VM, as ACPI names them.

use crate::{
    hypercall::{
        self,
        CpuState,
        Cstate,
        Pstate,
        VmId, //
    },
    uapi,
};
use kernel::{
    prelude::*,
    uaccess::UserSlice, //
};

/// Whose layout an answer has.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    Native,
    /// 64-bit numbers are aligned to 4 bytes.
    I386,
}

/// A question of user space: what in bits 7:0, number of the state in 15:8, vCPU in 23:16, VM in 31:24.
#[derive(Clone, Copy)]
pub(crate) struct Question(u64);

/// The answer to a [`Question`].
pub(crate) enum Answer {
    Count(u64),
    Pstate(Pstate),
    Cstate(Cstate),
}

impl Question {
    /// The question that user space wrote.
    pub(crate) fn new(bits: u64) -> Self {
        Self(bits)
    }

    fn field(self, shift: u32) -> u8 {
        // A byte, by the cast.
        (self.0 >> shift) as u8
    }

    /// Asks the hypervisor.
    ///
    /// Fails with `EINVAL` if there is no such question, or it is about another VM than `vm`.
    pub(crate) fn ask(self, vm: VmId) -> Result<Answer> {
        if u64::from(self.field(24)) != vm.into() {
            return Err(EINVAL);
        }
        let state = CpuState {
            vm: self.field(24),
            vcpu: self.field(16),
            number: self.field(8),
        };
        match self.0 as u32 & uapi::PMCMD_TYPE_MASK {
            uapi::ACRN_PMCMD_GET_PX_CNT => hypercall::px_count(state).map(Answer::Count),
            uapi::ACRN_PMCMD_GET_PX_DATA => hypercall::px_data(state).map(Answer::Pstate),
            uapi::ACRN_PMCMD_GET_CX_CNT => hypercall::cx_count(state).map(Answer::Count),
            uapi::ACRN_PMCMD_GET_CX_DATA => hypercall::cx_data(state).map(Answer::Cstate),
            _ => Err(EINVAL),
        }
    }
}

impl Answer {
    /// Writes the answer to user space, where `address` gives a slice of so many bytes.
    pub(crate) fn write(self, address: impl Fn(usize) -> UserSlice, layout: Layout) -> Result {
        match self {
            Self::Count(count) => address(size_of_val(&count)).writer().write(&count),
            Self::Pstate(state) => address(size_of_val(&state)).writer().write(&state),
            Self::Cstate(state) => {
                let mut writer = address(size_of_val(&state)).writer();
                match layout {
                    Layout::Native => writer.write(&state),
                    Layout::I386 => {
                        let [register, rest_and_type, latency, power] = state;
                        writer.write(&register)?;
                        writer.write(&rest_and_type)?;
                        // What is left out is the gap that aligns `power`.
                        writer.write(&(latency as u32))?;
                        writer.write(&power)
                    }
                }
            }
        }
    }
}
