// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Serving I/O requests.

use std::os::fd::AsFd;

use acrn_uapi::acrn_ioreq_notify;
use acrn_uapi::ioctl::ACRN_IOCTL_NOTIFY_REQUEST_FINISH;

use crate::call::{self, NoArgument};
use crate::{Result, Vm};

/// # I/O requests
impl Vm {
    /// `ACRN_IOCTL_CREATE_IOREQ_CLIENT`: the caller is to get the requests that the driver does not answer by
    /// itself.
    ///
    /// `EEXIST`: there is a client.
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

    /// `ACRN_IOCTL_ATTACH_IOREQ_CLIENT`: waits until there are requests to serve, which are then to be found
    /// in the [`RequestPage`](crate::RequestPage).
    ///
    /// May return with none there, after a signal for example. `ENODEV`: no client, or it was destroyed while
    /// this call waited, or the hypervisor has the VM no more.
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

    /// `ACRN_IOCTL_DESTROY_IOREQ_CLIENT`: the caller gets no more requests. A thread that waits in
    /// [`attach_ioreq_client`](Self::attach_ioreq_client) returns.
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

    /// `ACRN_IOCTL_NOTIFY_REQUEST_FINISH`: the request in this vCPU's slot is served, the vCPU may run on.
    ///
    /// `EINVAL`: no such vCPU.
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
        // SAFETY: this request reads an `acrn_ioreq_notify`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_NOTIFY_REQUEST_FINISH, &notify) }
    }

    /// `ACRN_IOCTL_CLEAR_VM_IOREQ`: completes whatever requests are open, before a reset.
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
