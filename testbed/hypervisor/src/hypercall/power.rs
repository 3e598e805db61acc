// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! PM_GET_CPU_STATE: two C-states and two P-states.

use crate::{phys, vm};
use acrn_hypercall_abi::PmCommand;
use acrn_uapi::{
    ACRN_PMCMD_GET_CX_CNT, ACRN_PMCMD_GET_CX_DATA, ACRN_PMCMD_GET_PX_CNT, ACRN_PMCMD_GET_PX_DATA,
    acrn_acpi_generic_address, acrn_cstate_data, acrn_pstate_data,
};
use mini_acrn_channel::vm_state;
use mini_acrn_logic::errno::{Errno, Result};

/// Address space of a C-state that an instruction enters.
const FIXED_HARDWARE: u8 = 0x7F;
/// Address space of a C-state that a read of a port enters.
const SYSTEM_IO: u8 = 1;

const FREQUENCIES: [acrn_pstate_data; 2] = [
    acrn_pstate_data {
        core_frequency: 2400,
        power: 15000,
        transition_latency: 10,
        bus_master_latency: 9,
        control: 0x1800,
        status: 0x18,
    },
    acrn_pstate_data {
        core_frequency: 1200,
        power: 6000,
        transition_latency: 20,
        bus_master_latency: 19,
        control: 0xC00,
        status: 0xC,
    },
];

/// C-states: type, latency in microseconds, power in milliwatts, address space, address.
const STATES: [(u8, u32, u64, u8, u64); 2] =
    [(1, 1, 1000, FIXED_HARDWARE, 0), (2, 80, 500, SYSTEM_IO, 0x414)];

pub fn get_state(command: PmCommand, gpa: u64) -> Result {
    let vm = vm::get(command.vmid().into())?;
    vm.require(&[vm_state::CREATED, vm_state::PAUSED])?;
    if command.vcpu() >= vm.vcpus().len() {
        return Err(Errno::GENERIC);
    }
    let number = command.state();
    match command.type_() {
        ACRN_PMCMD_GET_PX_CNT => phys::write(gpa, &(FREQUENCIES.len() as u8)),
        // P-states are numbered from 0.
        ACRN_PMCMD_GET_PX_DATA => phys::write(gpa, FREQUENCIES.get(number).ok_or(Errno::GENERIC)?),
        ACRN_PMCMD_GET_CX_CNT => phys::write(gpa, &(STATES.len() as u8)),
        ACRN_PMCMD_GET_CX_DATA => {
            // C-states are numbered from 1.
            let state = number.checked_sub(1).and_then(|i| STATES.get(i)).ok_or(Errno::GENERIC)?;
            phys::write_bytes_checked(gpa, &encode(state))
        }
        _ => None,
    }
    .ok_or(Errno::GENERIC)
}

/// Returns the bytes of the structure. Its padding is zero.
fn encode(&(kind, latency, power, space_id, address): &(u8, u32, u64, u8, u64)) -> [u8; 32] {
    let mut out = [0; size_of::<acrn_cstate_data>()];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(core::mem::offset_of!(acrn_cstate_data, cx_reg), &[space_id, 8, 0, 0]);
    put(core::mem::offset_of!(acrn_acpi_generic_address, address), &address.to_le_bytes());
    put(core::mem::offset_of!(acrn_cstate_data, type_), &[kind]);
    put(core::mem::offset_of!(acrn_cstate_data, latency), &latency.to_le_bytes());
    put(core::mem::offset_of!(acrn_cstate_data, power), &power.to_le_bytes());
    out
}
