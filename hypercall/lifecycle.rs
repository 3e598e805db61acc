// SPDX-License-Identifier: GPL-2.0

//! Hypercalls that create, stop and destroy VMs, lend the request page to the hypervisor, or give
//! up a CPU. The results of PAUSE_VM, RESET_VM and DESTROY_VM are proofs.

use super::{
    hypercalls,
    vmcall,
    VmId, //
};
use crate::{
    abstractions::{
        contiguous::Contiguous,
        cpu_hotplug::OfflineCpu,
        lent_pages::Returned,
        shared_page::SharedPage, //
    },
    uapi,
};
use kernel::prelude::*;

const SERVICE_VM_OFFLINE_CPU: u64 = 0x8000_0001;
const CREATE_VM: u64 = 0x8000_0010;

hypercalls! {
    fn destroy = 0x8000_0011, none;
    fn pause = 0x8000_0013, none;
    fn reset = 0x8000_0015, none;
    fn set_buffer = 0x8000_0030, reads u64;
}

/// A VM that the hypervisor has just created.
pub(crate) struct Created {
    /// The VM's id.
    pub(crate) vm: VmId,
    /// The number of vCPUs, as reported by the hypervisor. Not checked.
    pub(crate) vcpus: u16,
}

impl Created {
    /// Returns a proof that the VM `older` is gone, if the new VM has its id.
    ///
    /// The hypervisor gives an id to one VM at a time.
    pub(crate) fn replaces(&self, older: VmId) -> Option<Destroyed> {
        (self.vm == older).then_some(Destroyed(()))
    }
}

/// A proof that a VM is gone: the hypervisor uses none of its memory, and may give its id to
/// another VM.
pub(crate) struct Destroyed(());

// SAFETY: The hypervisor has removed the VM's translations from all CPUs and devices.
unsafe impl Returned for Destroyed {}

/// A proof that a VM was stopped: no vCPU is in the guest, and a flush of translations precedes
/// the entry of any vCPU into the guest once the VM is started again.
///
/// A VM of higher severity than the Service VM is not stopped. The hypervisor deletes none of its
/// memory while it runs.
pub(crate) struct Stopped(());

/// Takes a CPU away from the Service VM for good.
///
/// Fails with `EPERM` for the boot CPU.
pub(crate) fn service_vm_offline_cpu(cpu: &OfflineCpu) -> Result {
    // SAFETY: No parameter is in memory. Linux runs nothing on the CPU, by its type.
    unsafe { vmcall(SERVICE_VM_OFFLINE_CPU, cpu.lapic_id().into(), 0) }
}

/// Creates a VM, and writes its id and number of vCPUs to `parameter`.
///
/// Fails with `EINVAL` if the hypervisor reports success without a VM.
pub(crate) fn create_vm(parameter: &mut Contiguous<uapi::acrn_vm_creation>) -> Result<Created> {
    // SAFETY: Reads and writes `*parameter`, which is borrowed mutably.
    unsafe { vmcall(CREATE_VM, parameter.phys_mut(), 0) }?;
    Ok(Created {
        vm: VmId::new(parameter.vmid).ok_or(EINVAL)?,
        vcpus: parameter.vcpu_num,
    })
}

/// Destroys a paused VM.
///
/// Fails with `EPERM` if the VM is not paused. An error does not prove that the VM still exists:
/// the hypervisor may have destroyed it all the same (`ETIMEDOUT`).
pub(crate) fn destroy_vm(vm: VmId) -> Result<Destroyed> {
    destroy(vm).map(|()| Destroyed(()))
}

/// Stops the vCPUs of a VM.
pub(crate) fn pause_vm(vm: VmId) -> Result<Stopped> {
    pause(vm).map(|()| Stopped(()))
}

/// Resets a paused VM to the state in which it was created. All request slots become FREE.
///
/// Fails with `EPERM` if the VM is not paused.
pub(crate) fn reset_vm(vm: VmId) -> Result<Stopped> {
    reset(vm).map(|()| Stopped(()))
}

/// Tells the hypervisor the address of a VM's request page, and lends the page.
///
/// The hypervisor writes to the page until the VM is destroyed.
pub(crate) fn set_ioreq_buffer(vm: VmId, page: &SharedPage) -> Result {
    set_buffer(vm, page.lend())
}
