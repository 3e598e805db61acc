// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! A VM, from creation to destruction.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use acrn_uapi::acrn_vcpu_regs;
use acrn_uapi::ioctl::ACRN_IOCTL_SET_VCPU_REGS;

use crate::call::{self, NoArgument};
use crate::{Failed, Hsm, Result};

/// A VM. Made by [`Hsm::create_vm`]; all methods may be called from several threads at once.
///
/// Dropping it closes the device; the driver then stops and destroys the VM.
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

    /// The VM's number, relative to the Service VM.
    pub fn vmid(&self) -> u16 {
        self.vmid
    }

    /// How many vCPUs it has.
    pub fn vcpu_count(&self) -> u16 {
        self.vcpu_count
    }

    /// `ACRN_IOCTL_DESTROY_VM`: destroys the VM, which must be paused. Its memory is unmapped and unpinned.
    ///
    /// On failure the VM comes back in [`Failed::value`].
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

    /// `ACRN_IOCTL_START_VM`: lets vCPU 0 run; the others wait for it to start them.
    ///
    /// `EPERM` (ACRN's general error): it is running already.
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

    /// `ACRN_IOCTL_PAUSE_VM`: stops all vCPUs. Not an error if they are stopped already.
    ///
    /// From then on the VM gets no interrupts and no word of finished requests, until [`reset`](Self::reset):
    /// ACRN would let its vCPUs run on.
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

    /// `ACRN_IOCTL_RESET_VM`: puts a paused VM back to the state it had before the start. Its memory stays
    /// mapped, with what is in it.
    ///
    /// ```no_run
    /// # fn f(vm: acrn_ioctls::Vm, regs: acrn_ioctls::uapi::acrn_vcpu_regs) -> acrn_ioctls::Result<()> {
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

    /// `ACRN_IOCTL_SET_VCPU_REGS`: sets the state that a vCPU starts from, before the start or while the VM
    /// is paused.
    ///
    /// `EINVAL`: something in a reserved field. `EPERM` (ACRN's general error): no such vCPU, an impossible
    /// state, or the VM runs.
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
        // SAFETY: this request reads an `acrn_vcpu_regs`.
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
