// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! SET_CALLBACK_VECTOR, SET_IOREQ_BUFFER and NOTIFY_REQUEST_FINISH.

use crate::ioreq;
use crate::request_page;
use crate::vcpu::BlockedOn;
use crate::{phys, vm};
use core::sync::atomic::Ordering;
use mini_acrn_channel::vm_state;
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::npt::PAGE;

pub fn set_callback_vector(vector: u64) -> Result {
    let vector = u8::try_from(vector).ok().filter(|v| *v >= 0x20).ok_or(Errno::INVAL)?;
    ioreq::set_vector(vector);
    Ok(())
}

pub fn set_buffer(vmid: u64, gpa: u64) -> Result {
    let vm = vm::get(vmid)?;
    vm.require(&[vm_state::CREATED])?;
    let page: u64 = phys::read(gpa).ok_or(Errno::GENERIC)?;
    vm.request_page.store(0, Ordering::Release);
    if !page.is_multiple_of(PAGE) || !phys::is_service_ram(page, PAGE) {
        return Err(Errno::GENERIC);
    }
    vm.request_page.store(page, Ordering::Release);
    request_page::free_all(page);
    Ok(())
}

pub fn notify(vmid: u64, vcpu: u64) -> Result {
    let vm = vm::get(vmid)?;
    vm.require_not_off()?;
    let index = usize::try_from(vcpu).map_err(|_| Errno::GENERIC)?;
    let target = vm.vcpus().get(index);
    if vm.request_page.load(Ordering::Acquire) == 0 {
        return Err(Errno::GENERIC);
    }
    let polling = vm.polling.load(Ordering::Acquire);
    // A test has raised the request, and no vCPU waits for it.
    if let Some(slot) =
        vm.slot(index).filter(|_| vm.raised.load(Ordering::Acquire) & 1 << index != 0)
    {
        if ioreq::consume(vm, index, &slot) {
            vm.raised.fetch_and(!(1 << index), Ordering::AcqRel);
        }
        let vcpu = target.ok_or(Errno::GENERIC)?;
        if vm.is(vm_state::PAUSED) && !polling {
            // On ACRN the vCPU of this slot would continue.
            vcpu.record_wakeup(BlockedOn::IoRequest);
        }
        return Ok(());
    }
    let vcpu = target.ok_or(Errno::GENERIC)?;
    if !polling {
        vcpu.notify();
    }
    Ok(())
}
