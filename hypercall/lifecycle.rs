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
const SET_IOREQ_BUFFER: u64 = 0x8000_0030;

/// A flag of CREATE_VM: the guest may create a secure world
/// (`GUEST_FLAG_SECURE_WORLD_ENABLED`).
const SECURE_WORLD: u64 = 1 << 0;

hypercalls! {
    fn destroy = 0x8000_0011, none;
    fn pause = 0x8000_0013, none;
    fn reset = 0x8000_0015, none;
}

/// A VM that the hypervisor has just created.
pub(crate) struct Created {
    vm: VmId,
    vcpus: u16,
    has_secure_world: bool,
}

impl Created {
    /// Returns the VM's id.
    pub(crate) fn vm(&self) -> VmId {
        self.vm
    }

    /// Returns the number of vCPUs, as reported by the hypervisor. Not checked.
    pub(crate) fn vcpus(&self) -> u16 {
        self.vcpus
    }

    /// Returns whether the guest may move memory to a secure world. Memory there is not mapped any
    /// more, but the guest has access to it. RESET_VM maps it again, and DESTROY_VM clears it.
    pub(crate) fn has_secure_world(&self) -> bool {
        self.has_secure_world
    }

    /// Returns a proof that the VM `older` is gone, if the new VM has its id.
    ///
    /// The hypervisor gives an id to one VM at a time.
    ///
    /// # Safety
    ///
    /// `older` must be the id of a VM that was created before this one.
    pub(crate) unsafe fn replaces(&self, older: VmId) -> Option<Destroyed> {
        (self.vm == older).then_some(Destroyed(older))
    }
}

/// A proof that a VM is gone: the hypervisor uses none of its memory, and may give its id to
/// another VM.
pub(crate) struct Destroyed(VmId);

impl Destroyed {
    /// Returns the id that the VM had.
    pub(crate) fn vm(&self) -> VmId {
        self.0
    }
}

// SAFETY: The hypervisor has removed the VM's translations from all CPUs and devices.
unsafe impl Returned for Destroyed {}

/// A proof that a VM is paused. Its vCPUs may run: an interrupt, such as that of its local APIC
/// timer, wakes a vCPU of a paused VM, and PAUSE_VM does nothing if the VM is paused already.
pub(crate) struct Paused(VmId);

impl Paused {
    /// Returns a proof that the vCPUs were stopped.
    ///
    /// # Safety
    ///
    /// The VM must not have been paused before the hypercall.
    pub(crate) unsafe fn stopped(self) -> Stopped {
        Stopped(self.0)
    }
}

/// A proof that no vCPU of a VM was in the guest when PAUSE_VM returned. A vCPU that enters the
/// guest later flushes its translations before.
///
/// A VM of higher severity than the Service VM is not stopped. The hypervisor deletes none of its
/// memory while it runs.
pub(crate) struct Stopped(VmId);

impl Stopped {
    /// Returns the VM's id.
    pub(crate) fn vm(&self) -> VmId {
        self.0
    }
}

/// A proof that a VM was reset: no vCPU enters the guest until START_VM, and each flushes its
/// translations before.
pub(crate) struct ResetDone(VmId);

impl ResetDone {
    /// Returns the VM's id.
    pub(crate) fn vm(&self) -> VmId {
        self.0
    }
}

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
        has_secure_world: parameter.vm_flag & SECURE_WORLD != 0,
    })
}

/// Destroys a paused VM.
///
/// Fails with `EPERM`, and does nothing, if the VM is not paused. Any other error does not prove
/// that the VM still exists: the hypervisor may have destroyed it all the same (`ETIMEDOUT`).
pub(crate) fn destroy_vm(vm: VmId) -> Result<Destroyed> {
    destroy(vm).map(|()| Destroyed(vm))
}

/// Pauses a VM, which stops its vCPUs unless it is paused already.
pub(crate) fn pause_vm(vm: VmId) -> Result<Paused> {
    pause(vm).map(|()| Paused(vm))
}

/// Resets a paused VM to the state in which it was created. All request slots become FREE.
///
/// Fails with `EPERM`, and does nothing, if the VM is not paused. Any other error does not prove
/// that the VM was not reset: the hypervisor may have reset it all the same (`ETIMEDOUT`).
pub(crate) fn reset_vm(vm: VmId) -> Result<ResetDone> {
    reset(vm).map(|()| ResetDone(vm))
}

/// Tells the hypervisor the address of a VM's request page, and lends the page.
///
/// The hypervisor writes to the page until the VM is destroyed.
pub(crate) fn set_ioreq_buffer(vm: VmId, page: &SharedPage) -> Result {
    // SAFETY: Reads the address, which `page` owns. The page is lent from then on.
    unsafe { vmcall(SET_IOREQ_BUFFER, vm.into(), page.lend().phys()) }
}
