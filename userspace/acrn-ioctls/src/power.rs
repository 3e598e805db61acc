// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Power management data of the physical CPUs behind a VM.

use std::mem::size_of;
use std::os::fd::AsFd;

use acrn_uapi::ioctl::ACRN_IOCTL_PM_GET_CPU_STATE;
use acrn_uapi::{
    ACRN_PMCMD_GET_CX_CNT, ACRN_PMCMD_GET_CX_DATA, ACRN_PMCMD_GET_PX_CNT, ACRN_PMCMD_GET_PX_DATA,
    acrn_cstate_data, acrn_pstate_data,
};
use zerocopy::FromBytes;

use crate::call;
use crate::{Result, Vm};

/// The size of the largest answer, in bytes.
const ANSWER: usize = size_of::<acrn_pstate_data>();

/// The buffer from which the driver reads the command, and into which it writes any answer.
#[derive(FromBytes)]
#[repr(C, align(8))]
struct Exchange([u8; ANSWER]);

fn command(kind: u32, state: u8, vcpu: u8, vmid: u16) -> u64 {
    u64::from(kind)
        | u64::from(state) << 8
        | u64::from(vcpu) << 16
        // The command has 8 bits for the id.
        | u64::from(vmid as u8) << 24
}

/// # Power management
///
/// The hypervisor answers before the VM's start and while the VM is paused.
impl Vm {
    /// Returns the number of P-states of a vCPU's CPU (`ACRN_IOCTL_PM_GET_CPU_STATE`).
    ///
    /// # Errors
    ///
    /// - `EINVAL` or `EPERM` (ACRN's general error): the hypervisor has no such data.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// for state in 0..vm.px_count(0)? {
    ///     let data = vm.px_data(0, state as u8)?;
    ///     println!("{} MHz", data.core_frequency);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn px_count(&self, vcpu: u8) -> Result<u64> {
        self.pm(ACRN_PMCMD_GET_PX_CNT, 0, vcpu)
    }

    /// Returns one P-state, counted from 0 (`ACRN_IOCTL_PM_GET_CPU_STATE`).
    ///
    /// # Errors
    ///
    /// - `EINVAL` or `EPERM` (ACRN's general error): the hypervisor has no such data.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// let fastest = vm.px_data(0, 0)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn px_data(&self, vcpu: u8, state: u8) -> Result<acrn_pstate_data> {
        self.pm(ACRN_PMCMD_GET_PX_DATA, state, vcpu)
    }

    /// Returns the number of C-states of a vCPU's CPU (`ACRN_IOCTL_PM_GET_CPU_STATE`).
    ///
    /// # Errors
    ///
    /// - `EINVAL` or `EPERM` (ACRN's general error): the hypervisor has no such data.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// for state in 1..=vm.cx_count(0)? {
    ///     let data = vm.cx_data(0, state as u8)?;
    ///     println!("C{}: {} us", data.type_, data.latency);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cx_count(&self, vcpu: u8) -> Result<u64> {
        self.pm(ACRN_PMCMD_GET_CX_CNT, 0, vcpu)
    }

    /// Returns one C-state, counted from 1 (`ACRN_IOCTL_PM_GET_CPU_STATE`).
    ///
    /// # Errors
    ///
    /// - `EINVAL` or `EPERM` (ACRN's general error): the hypervisor has no such data.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// let shallowest = vm.cx_data(0, 1)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cx_data(&self, vcpu: u8, state: u8) -> Result<acrn_cstate_data> {
        self.pm(ACRN_PMCMD_GET_CX_DATA, state, vcpu)
    }

    fn pm<T: FromBytes>(&self, kind: u32, state: u8, vcpu: u8) -> Result<T> {
        const { assert!(size_of::<T>() <= ANSWER) };
        let mut exchange = Exchange([0; ANSWER]);
        let command = command(kind, state, vcpu, self.vmid());
        exchange.0[..8].copy_from_slice(&command.to_ne_bytes());
        // SAFETY: this command reads a `u64` and writes at most `ANSWER` bytes in its place.
        unsafe { call::with_mut(self.as_fd(), ACRN_IOCTL_PM_GET_CPU_STATE, &mut exchange)? };
        match T::read_from_prefix(&exchange.0) {
            Ok((answer, _)) => Ok(answer),
            Err(_) => unreachable!("checked at compile time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        assert_eq!(command(ACRN_PMCMD_GET_CX_DATA, 2, 1, 5), 0x0501_0203);
        assert_eq!(command(ACRN_PMCMD_GET_PX_CNT, 0, 0, 1), 0x0100_0000);
    }
}
