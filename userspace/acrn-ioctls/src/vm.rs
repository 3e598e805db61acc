// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A VM from its creation to its destruction.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use acrn_uapi::acrn_vcpu_regs;
use acrn_uapi::ioctl::ACRN_IOCTL_SET_VCPU_REGS;

use crate::call::{self, NoArgument};
use crate::{Failed, Hsm, Result};

/// A User VM.
///
/// [`Hsm::create_vm`] returns it. Several threads may call its methods at once.
///
/// Dropping it closes the device. The driver then pauses and destroys the VM.
#[derive(Debug)]
pub struct Vm {
    fd: OwnedFd,
    vmid: u16,
    vcpu_count: u16,
}

impl Vm {
    pub(crate) fn new(fd: OwnedFd, vmid: u16, vcpu_count: u16) -> Self {
        Vm {
            fd,
            vmid,
            vcpu_count,
        }
    }

    /// Returns the VM's id, relative to the Service VM.
    pub fn vmid(&self) -> u16 {
        self.vmid
    }

    /// Returns the number of vCPUs.
    pub fn vcpu_count(&self) -> u16 {
        self.vcpu_count
    }

    /// Destroys the VM, which must be paused (`ACRN_IOCTL_DESTROY_VM`).
    ///
    /// The driver unmaps and unpins the VM's memory. The open device is returned and can create
    /// another VM.
    ///
    /// # Errors
    ///
    /// [`Failed::value`] holds the VM.
    ///
    /// - `EPERM` (ACRN's general error): the VM is not paused. It continues as before.
    /// - `ENODEV`: the hypervisor no longer has the VM. The driver has released its memory.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// vm.pause()?;
    /// let hsm = vm.destroy()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn destroy(self) -> std::result::Result<Hsm, Failed<Vm>> {
        match self.command(NoArgument::DESTROY_VM) {
            Ok(()) => Ok(Hsm::from(self.fd)),
            Err(error) => Err(Failed { value: self, error }),
        }
    }

    /// Starts the VM (`ACRN_IOCTL_START_VM`).
    ///
    /// vCPU 0 runs. The other vCPUs wait until it starts them.
    ///
    /// # Errors
    ///
    /// - `EPERM` (ACRN's general error): the VM runs already.
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
    pub fn start(&self) -> Result<()> {
        self.command(NoArgument::START_VM)
    }

    /// Pauses the VM: stops all vCPUs (`ACRN_IOCTL_PAUSE_VM`).
    ///
    /// Pausing a paused VM succeeds.
    ///
    /// Until [`reset`](Self::reset) the driver neither injects interrupts nor notifies the
    /// hypervisor of completed requests. Either would make ACRN resume a vCPU.
    ///
    /// # Errors
    ///
    /// - Any error of the hypervisor.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// vm.pause()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pause(&self) -> Result<()> {
        self.command(NoArgument::PAUSE_VM)
    }

    /// Resets a paused VM to the state before its start (`ACRN_IOCTL_RESET_VM`).
    ///
    /// The VM's memory stays mapped and keeps its contents.
    ///
    /// # Errors
    ///
    /// - `EPERM` (ACRN's general error): the VM is not paused.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use acrn_ioctls::{Result, Vm, uapi::acrn_vcpu_regs};
    /// # fn f(vm: Vm, regs: acrn_vcpu_regs) -> Result<()> {
    /// vm.pause()?;
    /// vm.clear_vm_ioreq()?;
    /// vm.reset()?;
    /// vm.set_vcpu_regs(&regs)?;
    /// vm.start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset(&self) -> Result<()> {
        self.command(NoArgument::RESET_VM)
    }

    /// Sets the registers with which a vCPU starts (`ACRN_IOCTL_SET_VCPU_REGS`).
    ///
    /// The VM must not have been started yet, or must be paused.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a reserved field is not 0.
    /// - `EPERM` (ACRN's general error): there is no such vCPU, the state is impossible, or the VM
    ///   runs.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm) -> acrn_ioctls::Result<()> {
    /// let mut regs = acrn_ioctls::uapi::acrn_vcpu_regs { vcpu_id: 0, ..Default::default() };
    /// regs.vcpu_regs.rip = 0x7c00;
    /// vm.set_vcpu_regs(&regs)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_vcpu_regs(&self, regs: &acrn_vcpu_regs) -> Result<()> {
        // SAFETY: this command reads an `acrn_vcpu_regs`.
        unsafe { call::with_ref(self.as_fd(), ACRN_IOCTL_SET_VCPU_REGS, regs) }
    }

    /// Issues a command that takes no argument.
    pub(crate) fn command(&self, command: NoArgument) -> Result<()> {
        call::without_argument(self.as_fd(), command)
    }
}

impl AsFd for Vm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Vm {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
