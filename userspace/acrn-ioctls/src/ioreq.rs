// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! How the device model serves I/O requests.

use std::os::fd::AsFd;

use acrn_uapi::acrn_ioreq_notify;
use acrn_uapi::ioctl::ACRN_IOCTL_NOTIFY_REQUEST_FINISH;

use crate::call::{self, NoArgument};
use crate::{Result, Vm};

/// # I/O requests
impl Vm {
    /// Makes the caller the VM's ioreq client (`ACRN_IOCTL_CREATE_IOREQ_CLIENT`).
    ///
    /// The ioreq client receives the requests that the driver does not complete by itself.
    ///
    /// # Errors
    ///
    /// - `EEXIST`: the VM has an ioreq client.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// vm.create_ioreq_client()?;
    /// vm.start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_ioreq_client(&self) -> Result<()> {
        self.command(NoArgument::CREATE_IOREQ_CLIENT)
    }

    /// Waits for requests to serve (`ACRN_IOCTL_ATTACH_IOREQ_CLIENT`).
    ///
    /// The caller finds the requests in the [`RequestPage`](crate::RequestPage). There may be none,
    /// for example after a signal.
    ///
    /// # Errors
    ///
    /// - `ENODEV`: there is no ioreq client, or it was destroyed during the call, or the hypervisor
    ///   no longer has the VM.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::*;
    /// # fn f(vm: Vm, page: RequestPage) -> Result<()> {
    /// while vm.attach_ioreq_client().is_ok() {
    ///     for (vcpu, slot) in page.slots().filter(|(_, slot)| slot.is_ours()) {
    ///         slot.answer(0);
    ///         vm.notify_request_finish(vcpu)?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn attach_ioreq_client(&self) -> Result<()> {
        self.command(NoArgument::ATTACH_IOREQ_CLIENT)
    }

    /// Destroys the ioreq client (`ACRN_IOCTL_DESTROY_IOREQ_CLIENT`).
    ///
    /// A thread that waits in [`attach_ioreq_client`](Self::attach_ioreq_client) returns. The
    /// driver completes the requests that the ioreq client has not served; reads return all ones.
    ///
    /// # Errors
    ///
    /// None of its own. Success if there is no ioreq client.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// vm.pause()?;
    /// vm.destroy_ioreq_client()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn destroy_ioreq_client(&self) -> Result<()> {
        self.command(NoArgument::DESTROY_IOREQ_CLIENT)
    }

    /// Completes the request in a vCPU's slot (`ACRN_IOCTL_NOTIFY_REQUEST_FINISH`).
    ///
    /// The driver notifies the hypervisor, and the vCPU continues.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: there is no such vCPU, or the ioreq client has no request of it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// vm.attach_ioreq_client()?;
    /// vm.notify_request_finish(0)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn notify_request_finish(&self, vcpu: u32) -> Result<()> {
        let notify = acrn_ioreq_notify {
            vmid: self.vmid(),
            vcpu,
            ..Default::default()
        };
        // SAFETY: this command reads an `acrn_ioreq_notify`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &notify) }
    }

    /// Completes all pending requests, before a reset (`ACRN_IOCTL_CLEAR_VM_IOREQ`).
    ///
    /// Reads return all ones.
    ///
    /// # Errors
    ///
    /// None of its own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// vm.pause()?;
    /// vm.clear_vm_ioreq()?;
    /// vm.reset()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn clear_vm_ioreq(&self) -> Result<()> {
        self.command(NoArgument::CLEAR_VM_IOREQ)
    }
}
