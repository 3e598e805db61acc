// SPDX-License-Identifier: GPL-2.0

//! PM_GET_CPU_STATE: idle and frequency states of the CPUs of a VM, as ACPI names them.

use crate::{
    abstractions::contiguous::Contiguous,
    hypercall::{
        self,
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

/// A question: what in bits 7:0, number of the state in 15:8, vCPU in 23:16, VM in 31:24.
#[derive(Clone, Copy)]
struct Question(u64);

impl Question {
    fn subject(self) -> u32 {
        self.0 as u32 & uapi::PMCMD_TYPE_MASK
    }

    fn vm(self) -> u64 {
        self.0 >> 24 & 0xFF
    }

    fn ask<const WORDS: usize>(self) -> Result<[u64; WORDS]> {
        let mut answer = Contiguous::new([0; WORDS])?;
        hypercall::pm_get_cpu_state(self.0, &mut answer)?;
        Ok(*answer)
    }
}

const CSTATE_WORDS: usize = 4;
const PSTATE_WORDS: usize = 6;
static_assert!(size_of::<uapi::acrn_cstate_data>() == 8 * CSTATE_WORDS);
static_assert!(size_of::<uapi::acrn_pstate_data>() == 8 * PSTATE_WORDS);

/// Reads a question at `address`, and writes the answer there.
///
/// `EINVAL` for a question that is none, or is about another VM than `vm`.
pub(crate) fn get_cpu_state(
    vm: VmId,
    address: impl Fn(usize) -> UserSlice,
    layout: Layout,
) -> Result {
    let question = Question(address(size_of::<u64>()).reader().read()?);
    if question.vm() != vm.into() {
        return Err(EINVAL);
    }
    match question.subject() {
        uapi::ACRN_PMCMD_GET_PX_CNT | uapi::ACRN_PMCMD_GET_CX_CNT => {
            let count = question.ask::<1>()?;
            address(size_of_val(&count)).writer().write(&count)
        }
        uapi::ACRN_PMCMD_GET_PX_DATA => {
            let pstate = question.ask::<PSTATE_WORDS>()?;
            address(size_of_val(&pstate)).writer().write(&pstate)
        }
        uapi::ACRN_PMCMD_GET_CX_DATA => {
            let cstate = question.ask::<CSTATE_WORDS>()?;
            let mut writer = address(size_of_val(&cstate)).writer();
            match layout {
                Layout::Native => writer.write(&cstate),
                Layout::I386 => {
                    let [register, rest_and_type, latency, power] = cstate;
                    writer.write(&register)?;
                    writer.write(&rest_and_type)?;
                    // What is left out is the gap that aligns `power`.
                    writer.write(&(latency as u32))?;
                    writer.write(&power)
                }
            }
        }
        _ => Err(EINVAL),
    }
}
