// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! PM_GET_CPU_STATE: a machine with two idle states and two frequency states.

use crate::{phys, vm};
use acrn_uapi::{acrn_acpi_generic_address, acrn_cstate_data};
use mini_acrn_channel::vm_state;
use mini_acrn_logic::errno::{Errno, Result};

const GET_PX_CNT: u64 = 0;
const GET_PX_DATA: u64 = 1;
const GET_CX_CNT: u64 = 2;
const GET_CX_DATA: u64 = 3;

/// Address space of an idle state entered by an instruction.
const FIXED_HARDWARE: u8 = 0x7F;
/// Address space of an idle state entered by reading a port.
const SYSTEM_IO: u8 = 1;

/// Frequency in megahertz, power in milliwatts, latency and bus master latency in microseconds, control, status.
const FREQUENCIES: [[u64; 6]; 2] = [[2400, 15000, 10, 9, 0x1800, 0x18], [1200, 6000, 20, 19, 0xC00, 0xC]];

/// Type, latency in microseconds, power in milliwatts, address space, address.
const STATES: [(u8, u32, u64, u8, u64); 2] =
    [(1, 1, 1000, FIXED_HARDWARE, 0), (2, 80, 500, SYSTEM_IO, 0x414)];

/// `cmd`: type in bits 0 to 7, number 8 to 15, vCPU 16 to 23, VM 24 to 31.
pub fn get_state(cmd: u64, gpa: u64) -> Result {
    let vm = vm::get(cmd >> 24 & 0xFF)?;
    vm.require(&[vm_state::CREATED, vm_state::PAUSED])?;
    if (cmd >> 16 & 0xFF) as usize >= vm.vcpus().len() {
        return Err(Errno::GENERIC);
    }
    let number = (cmd >> 8 & 0xFF) as usize;
    match cmd & 0xFF {
        GET_PX_CNT => phys::write(gpa, &(FREQUENCIES.len() as u8)),
        // Numbered from 0.
        GET_PX_DATA => phys::write(gpa, FREQUENCIES.get(number).ok_or(Errno::GENERIC)?),
        GET_CX_CNT => phys::write(gpa, &(STATES.len() as u8)),
        GET_CX_DATA => {
            // Numbered from 1.
            let state = number.checked_sub(1).and_then(|i| STATES.get(i)).ok_or(Errno::GENERIC)?;
            phys::write_bytes_checked(gpa, &encode(state))
        }
        _ => None,
    }
    .ok_or(Errno::GENERIC)
}

/// The structure's bytes; its padding is zero.
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
