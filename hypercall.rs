// SPDX-License-Identifier: GPL-2.0

//! The hypercalls of ACRN that this driver makes, and the only `vmcall`.
//!
//! Calling convention (ACRN, `acrn_common.h`): the id is in r8, parameters are in rdi and rsi, the
//! result is in rax. Parameters in memory are passed by guest-physical address, as [`Contiguous`].
//! Hypercalls may be made in any context, unless a function says otherwise.
//!
//! A hypercall that takes a VM and at most one parameter is a row of the table below. Hypercalls
//! with other parameters, and those whose results are proofs, are in the submodules.

mod address;
mod cpu_state;
mod interrupt_monitor;
mod lifecycle;
mod memory;
mod mmio_device;
mod vm_id;

pub(crate) use address::{
    define_address,
    GuestPhys,
    ServicePhys, //
};
pub(crate) use cpu_state::{
    CpuState,
    Cstate,
    Pstate, //
};
pub(crate) use interrupt_monitor::{
    vm_intr_monitor,
    InterruptCounts,
    InterruptMonitor, //
};
pub(crate) use lifecycle::{
    create_vm,
    destroy_vm,
    pause_vm,
    reset_vm,
    service_vm_offline_cpu,
    set_ioreq_buffer,
    Created,
    Destroyed,
    ResetDone,
    Stopped, //
};
pub(crate) use memory::{
    AccessRights,
    MemoryRegion,
    RegionBatch, //
};
pub(crate) use mmio_device::MmioDevice;
pub(crate) use vm_id::VmId;

use crate::{
    abstractions::contiguous::Contiguous,
    uapi, //
};
use kernel::{
    macros::kunit_tests,
    prelude::*, //
};

/// Makes a hypercall.
///
/// # Safety
///
/// `id` must be a hypercall that, now and later, has no effect on the memory of this VM except on
///
/// - the memory that `p1` and `p2` name, which the caller has borrowed for the call in the way in
///   which the hypercall uses it;
/// - memory that is lent: it is unpinned only with a proof that the hypervisor no longer uses it
///   ([`crate::abstractions::lent_pages::Returned`]), and the kernel has no references to it.
unsafe fn vmcall(id: u64, p1: u64, p2: u64) -> Result {
    let result: i64;
    // SAFETY: By the contract of this function, the hypervisor does not change memory that Rust or
    // the kernel relies on. No register except rax changes.
    unsafe {
        core::arch::asm!(
            "vmcall",
            inlateout("rax") 0i64 => result,
            in("r8") id,
            in("rdi") p1,
            in("rsi") p2,
            options(nostack),
        )
    };
    decode(result)
}

/// Decodes the result of a hypercall: negative values are errors.
///
/// Returns `EIO` for values that are no errno. ACRN's errors are small.
fn decode(result: i64) -> Result {
    if result >= 0 {
        return Ok(());
    }
    match i32::try_from(result) {
        Ok(errno @ -4095..=-1) => Err(Error::from_errno(errno)),
        _ => Err(EIO),
    }
}

/// Defines a function per row: its id, and the kind of its parameter.
///
/// - `none`: the VM is the only parameter.
/// - `number`: the second parameter is a number.
/// - `reads T`: the hypervisor reads a `T`, and does not access it once the hypercall has returned.
///
/// Each row is a claim about ACRN that [`vmcall`] relies on: that the kind is right, and that the
/// hypercall does not affect other memory of this VM that is not lent.
macro_rules! hypercalls {
    ($(
        $(#[$doc:meta])*
        $vis:vis fn $name:ident = $id:literal, $kind:ident $($parameter:ty)?;
    )*) => {
        $(hypercalls!(@$kind $(#[$doc])* $vis $name $id $($parameter)?);)*
    };
    (@none $(#[$doc:meta])* $vis:vis $name:ident $id:literal) => {
        $(#[$doc])*
        $vis fn $name(vm: VmId) -> Result {
            // SAFETY: By the table, no parameter is in memory.
            unsafe { vmcall($id, vm.into(), 0) }
        }
    };
    (@number $(#[$doc:meta])* $vis:vis $name:ident $id:literal) => {
        $(#[$doc])*
        $vis fn $name(vm: VmId, number: u64) -> Result {
            // SAFETY: By the table, no parameter is in memory.
            unsafe { vmcall($id, vm.into(), number) }
        }
    };
    (@reads $(#[$doc:meta])* $vis:vis $name:ident $id:literal $parameter:ty) => {
        $(#[$doc])*
        $vis fn $name(vm: VmId, parameter: &Contiguous<$parameter>) -> Result {
            // SAFETY: By the table, the hypervisor only reads `*parameter`, which is borrowed.
            unsafe { vmcall($id, vm.into(), parameter.phys()) }
        }
    };
}

use hypercalls;

hypercalls! {
    /// Starts a VM that was created and has a request page.
    ///
    /// Fails with `EPERM` otherwise.
    pub(crate) fn start_vm = 0x8000_0012, none;

    /// Sets the registers of a vCPU.
    ///
    /// Fails with `EPERM` if the VM runs.
    pub(crate) fn set_vcpu_regs = 0x8000_0016, reads uapi::acrn_vcpu_regs;

    /// Injects an MSI into a VM.
    pub(crate) fn inject_msi = 0x8000_0023, reads uapi::acrn_msi_entry;

    /// Drives an interrupt line of a VM: GSI in bits 31:0 of the number, operation in bits 63:32.
    pub(crate) fn set_irqline = 0x8000_0025, number;

    /// Wakes the vCPU whose id is the number. Its request must be COMPLETE.
    ///
    /// The hypervisor latches a notification for which no vCPU waits, and the next request of that
    /// vCPU then returns early. So there must be one call per request.
    pub(crate) fn notify_request_finish = 0x8000_0031, number;

    /// Connects an interrupt line of a passed-through device.
    pub(crate) fn set_ptdev_intr = 0x8000_0053, reads PtdevInterrupt;

    /// Disconnects an interrupt line of a passed-through device.
    pub(crate) fn reset_ptdev_intr = 0x8000_0054, reads PtdevInterrupt;

    /// Passes a PCI device through to a VM.
    ///
    /// Fails with `EINVAL`, `ENODEV` or `EFAULT`.
    pub(crate) fn assign_pcidev = 0x8000_0055, reads uapi::acrn_pcidev;

    /// Takes a PCI device back from a VM.
    ///
    /// Fails with `EINVAL`, `ENODEV` or `EFAULT`.
    pub(crate) fn deassign_pcidev = 0x8000_0056, reads uapi::acrn_pcidev;

    /// Passes an MMIO device through to a VM.
    ///
    /// Fails with `EINVAL`.
    pub(crate) fn assign_mmiodev = 0x8000_0057, reads MmioDevice;

    /// Takes an MMIO device back from a VM.
    ///
    /// Fails with `EINVAL`.
    pub(crate) fn deassign_mmiodev = 0x8000_0058, reads MmioDevice;

    /// Creates a device that the hypervisor emulates.
    ///
    /// Fails with `EINVAL`.
    pub(crate) fn create_vdev = 0x8000_0059, reads uapi::acrn_vdev;

    /// Destroys a device that the hypervisor emulates.
    ///
    /// Fails with `EINVAL`.
    pub(crate) fn destroy_vdev = 0x8000_005A, reads uapi::acrn_vdev;
}

/// The parameter of SET_PTDEV_INTR and RESET_PTDEV_INTR. The hypervisor reads 24 bytes, of which
/// the interface to user space has 20.
#[repr(C)]
pub(crate) struct PtdevInterrupt {
    interrupt: uapi::acrn_ptdev_irq,
    reserved: u32,
}
static_assert!(size_of::<PtdevInterrupt>() == 24);

impl From<uapi::acrn_ptdev_irq> for PtdevInterrupt {
    fn from(interrupt: uapi::acrn_ptdev_irq) -> Self {
        Self {
            interrupt,
            reserved: 0,
        }
    }
}

#[kunit_tests(acrn_hsm_hypercall)]
mod tests {
    use super::*;

    #[test]
    fn results_that_are_not_negative_are_success() {
        for result in [0, 1, 4096, i64::MAX] {
            assert!(decode(result).is_ok());
        }
    }

    #[test]
    fn small_negative_results_are_errnos() {
        for (result, error) in [(-1, EPERM), (-14, EFAULT), (-22, EINVAL), (-19, ENODEV)] {
            assert!(decode(result) == Err(error));
        }
        assert!(decode(-4095).is_err_and(|error| error.to_errno() == -4095));
    }

    #[test]
    fn large_negative_results_are_eio() {
        for result in [
            -4096,
            i64::from(i32::MIN),
            i64::from(i32::MIN) - 1,
            i64::MIN,
        ] {
            assert!(decode(result) == Err(EIO));
        }
        // The low 32 bits alone would be EPERM.
        assert!(decode(-0x1_0000_0000 - 1) == Err(EIO));
    }
}
