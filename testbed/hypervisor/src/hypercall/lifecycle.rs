// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! CREATE_VM, START_VM, PAUSE_VM, RESET_VM, DESTROY_VM, SET_VCPU_REGS and SERVICE_VM_OFFLINE_CPU.

use super::device;
use crate::{cpu, log, phys, rule, vm};
use acrn_hypercall_abi::{Hypercall, INVALID_VMID};
use acrn_uapi::{acrn_vcpu_regs, acrn_vm_creation};
use mini_acrn_channel::{Fault, vm_state};
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::vcpu_state::control_registers_valid;

pub fn offline_cpu(lapic_id: u64) -> Result {
    match usize::try_from(lapic_id).ok().and_then(cpu::with_lapic_id) {
        Some(cpu::BOOT) => return Err(Errno::GENERIC),
        Some(id) if !cpu::is_owned_by(id, cpu::Owner::Absent) && !cpu::is_removed(id) => {
            cpu::take_from_service(id);
            log!("CPU {id} was taken from the Service VM");
        }
        _ => {}
    }
    Ok(())
}

pub fn create(gpa: u64, fault: Option<&Fault>, vmid: &mut u16) -> Result {
    let mut cv: acrn_vm_creation = phys::read(gpa).ok_or(Errno::GENERIC)?;
    if !phys::is_service_ram(gpa, size_of_val(&cv) as u64) {
        return Err(Errno::GENERIC);
    }
    if let Some(f) = fault.filter(|f| f.patch == 2 && f.after == 0) {
        // ACRN can fail without returning an error.
        (cv.vmid, cv.vcpu_num) = (f.value as u16, 0);
        return phys::write(gpa, &cv).ok_or(Errno::GENERIC);
    }
    let vm = vm::for_name(&cv.uuid)?;
    let absent = |cpu: &usize| cv.cpu_affinity & 1 << cpu != 0 && cpu::is_absent(*cpu);
    if let Some(cpu) = (0..64).find(absent) {
        // ACRN uses the number without a check, and writes behind its array of CPUs.
        rule::broken(vm.id, Hypercall::CreateVm, format_args!("the machine has no CPU {cpu}"));
    }
    (cv.vmid, cv.vcpu_num) = match vm.create(cv.uuid, cv.vm_flag, cv.cpu_affinity) {
        Some(()) => {
            log!("VM {} created", vm.id);
            (vm.id, vm.vcpus().len() as u16)
        }
        None => {
            log!(
                "CREATE_VM: CPUs {:#x} are not available, free CPUs: {:#x}",
                cv.cpu_affinity,
                cpu::free_mask()
            );
            (INVALID_VMID, 0)
        }
    };
    *vmid = cv.vmid;
    match fault.map(|f| (f.patch, f.value as u16)) {
        Some((1, value)) => cv.vcpu_num = value,
        Some((2, value)) => cv.vmid = value,
        _ => {}
    }
    phys::write(gpa, &cv).ok_or(Errno::GENERIC)
}

pub fn destroy(vmid: u64) -> Result {
    let vm = vm::get(vmid)?;
    vm.destroy()?;
    device::clear(vm.id);
    log!("VM {} destroyed, {} table pages in use", vm.id, vm::table_pages());
    Ok(())
}

pub fn start(vmid: u64) -> Result {
    vm::get(vmid)?.start()
}

pub fn pause(vmid: u64) -> Result {
    vm::get(vmid)?.pause()
}

pub fn reset(vmid: u64) -> Result {
    vm::get(vmid)?.reset()
}

pub fn set_vcpu_regs(vmid: u64, gpa: u64) -> Result {
    let vm = vm::get(vmid)?;
    vm.require(&[vm_state::CREATED, vm_state::PAUSED])?;
    let set: acrn_vcpu_regs = phys::read(gpa).ok_or(Errno::GENERIC)?;
    let vcpu = vm.vcpus().get(usize::from(set.vcpu_id)).ok_or(Errno::GENERIC)?;
    let regs = &set.vcpu_regs;
    if !control_registers_valid(regs.cr0, regs.cr4, regs.ia32_efer) {
        return Err(Errno::GENERIC);
    }
    // In a paused VM, RESET_VM would overwrite the registers.
    if vm.is(vm_state::CREATED) {
        vcpu.set_regs(regs);
    }
    Ok(())
}
