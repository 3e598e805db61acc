// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The trace and script channel of tests (`mini-acrn-channel`).

use super::call::Call;
use super::script::SCRIPT;
use super::{device, hold};
use crate::ioreq;
use crate::request_page::SLOTS;
use crate::vm::{self, Vm};
use crate::{account, cpu, phys, rule, trace, user_memory};
use crate::{slot_trap, slow_sender};
use acrn_uapi::{ACRN_IOREQ_STATE_COMPLETE, ACRN_IOREQ_STATE_FREE, acrn_io_request};
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use mini_acrn_channel::{
    ACCOUNT_TAKE, CALL_HOLD, CALL_RELEASE, DEVICE_DMA, DeviceDma, FAULT_CLEAR, FAULT_PUSH, Fault,
    GUEST_ACCESS, GuestAccess, IPI_SLOW, KICKS_HOLD, MAPPING_QUERY, MappingQuery, NO_SLOT,
    RAISE_REQUEST, RAISE_UPCALL, RECORDS_PER_READ, RULE_EXPECT, RaiseRequest, SLOT_TRAP,
    TRACE_READ, TraceRead, VM_LIST, VmInfo, VmList, vm_state,
};
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::npt::{Access, PAGE};
use zerocopy::{FromZeros, IntoBytes};

/// Serves `call` if it belongs to the channel.
pub fn serve(call: &Call) -> Option<Result> {
    let page = call.p1;
    let id = u64::from(call.id());
    if !(TRACE_READ..=IPI_SLOW).contains(&id) {
        return None;
    }
    collect_raised();
    let needs_page = !matches!(
        id,
        FAULT_CLEAR | RAISE_UPCALL | CALL_RELEASE | RULE_EXPECT | KICKS_HOLD | SLOT_TRAP | IPI_SLOW
    );
    if needs_page && !(page.is_multiple_of(PAGE) && phys::is_service_ram(page, PAGE)) {
        return Some(Err(Errno::FAULT));
    }
    Some(match id {
        TRACE_READ => trace_read(page),
        VM_LIST => vm_list(page),
        MAPPING_QUERY => mapping_query(page),
        FAULT_PUSH => fault_push(page),
        FAULT_CLEAR => {
            SCRIPT.lock().clear();
            Ok(())
        }
        RAISE_REQUEST => raise_request(page),
        RAISE_UPCALL => {
            ioreq::upcall();
            Ok(())
        }
        GUEST_ACCESS => guest_access(page),
        CALL_HOLD => call_hold(page),
        CALL_RELEASE => {
            hold::release();
            Ok(())
        }
        RULE_EXPECT => {
            rule::expect(page != 0);
            Ok(())
        }
        DEVICE_DMA => device_dma(page),
        SLOT_TRAP => slot_trap(page),
        ACCOUNT_TAKE => put(page, &account::take()),
        IPI_SLOW => slow_sender::set(page),
        _ => {
            vm::hold_kicks(page != 0);
            Ok(())
        }
    })
}

fn put<T: IntoBytes + zerocopy::Immutable>(gpa: u64, value: &T) -> Result {
    phys::write(gpa, value).ok_or(Errno::FAULT)
}

/// Makes the requests that a test has raised FREE if they are COMPLETE.
fn collect_raised() {
    for vm in vm::all() {
        let raised = vm.raised.load(Ordering::Acquire);
        for i in (0..SLOTS).filter(|i| raised & 1 << i != 0) {
            let Some(slot) = vm.slot(i) else { continue };
            if slot.state() == ACRN_IOREQ_STATE_COMPLETE && ioreq::consume(vm, i, &slot) {
                vm.raised.fetch_and(!(1 << i), Ordering::AcqRel);
            }
        }
    }
}

fn trace_read(page: u64) -> Result {
    let mut header: TraceRead = phys::read(page).ok_or(Errno::FAULT)?;
    let trace = trace::TRACE.lock();
    let (mut at, wanted) = (page + size_of::<TraceRead>() as u64, header.seq);
    header.count = 0;
    header.next = trace.next();
    for record in trace.from(wanted).take(RECORDS_PER_READ) {
        if header.count == 0 {
            header.seq = record.seq;
        }
        put(at, record)?;
        at += size_of_val(record) as u64;
        header.count += 1;
    }
    put(page, &header)
}

fn vm_info(vm: &Vm) -> VmInfo {
    let config = vm.config.lock();
    let request_page = vm.request_page.load(Ordering::Acquire);
    VmInfo {
        vmid: vm.id,
        vcpu_num: vm.vcpus().len() as u16,
        state: vm.state(),
        has_request_page: (request_page != 0).into(),
        devices: device::count(vm.id) as u16,
        request_page,
        mapped_bytes: vm.npt.lock().as_ref().map_or(0, |n| n.mapped_bytes()),
        cpu_affinity: config.affinity,
        name: config.name,
    }
}

fn vm_list(page: u64) -> Result {
    let mut list = VmList::new_zeroed();
    list.free_cpus = cpu::free_mask();
    list.broken_rules = rule::count();
    list.expected_rules = rule::expected();
    list.held = hold::is_held().into();
    for vm in vm::all().iter().filter(|vm| !vm.is(vm_state::OFF)) {
        list.vms[list.count as usize] = vm_info(vm);
        list.count += 1;
    }
    put(page, &list)
}

/// Returns the VM `vmid`. Fails with `EINVAL` if it does not exist or is OFF.
fn live(vmid: u16) -> Result<&'static Vm> {
    vm::get(vmid.into()).ok().filter(|vm| !vm.is(vm_state::OFF)).ok_or(Errno::INVAL)
}

fn mapping_query(page: u64) -> Result {
    let mut q: MappingQuery = phys::read(page).ok_or(Errno::FAULT)?;
    let leaf = live(q.vmid)?.query(q.user_vm_pa);
    (q.mapped, q.writable, q.executable, q.service_vm_pa, q.mem_type) = (0, 0, 0, 0, 0);
    if let Some(leaf) = leaf {
        q.mapped = 1;
        q.writable = leaf.access.contains(Access::WRITE).into();
        q.executable = leaf.access.contains(Access::EXEC).into();
        (q.service_vm_pa, q.mem_type) = (leaf.target, leaf.mem_type.into());
    }
    put(page, &q)
}

fn fault_push(page: u64) -> Result {
    let fault: Fault = phys::read(page).ok_or(Errno::FAULT)?;
    SCRIPT.lock().push(fault).map_err(|_| Errno::NOSPC)
}

fn raise_request(page: u64) -> Result {
    let r: RaiseRequest = phys::read(page).ok_or(Errno::FAULT)?;
    let (vm, index) = (live(r.vmid)?, usize::from(r.vcpu));
    let slot = vm.slot(index).ok_or(Errno::INVAL)?;
    if r.force == 1 {
        slot.write(0, &r.slot);
    } else {
        if slot.state() != ACRN_IOREQ_STATE_FREE {
            return Err(Errno::BUSY);
        }
        slot.write(0, &r.slot[..offset_of!(acrn_io_request, processed)]);
    }
    vm.raised.fetch_or(1 << index, Ordering::AcqRel);
    if r.force != 1 {
        ioreq::publish(vm, index, &slot);
    }
    let upcalls = match r.upcall {
        1 => 0,
        2 => 2,
        _ => 1,
    };
    (0..upcalls).for_each(|_| ioreq::upcall());
    Ok(())
}

fn guest_access(page: u64) -> Result {
    let mut a: GuestAccess = phys::read(page).ok_or(Errno::FAULT)?;
    let (vm, len) = (live(a.vmid)?, a.len as usize);
    if len == 0 || len > a.data.len() || (a.user_vm_pa & (PAGE - 1)) + len as u64 > PAGE {
        return Err(Errno::INVAL);
    }
    if a.write == 1 {
        return user_memory::write(vm, a.user_vm_pa, &a.data[..len]).ok_or(Errno::FAULT);
    }
    user_memory::read(vm, a.user_vm_pa, &mut a.data[..len]).ok_or(Errno::FAULT)?;
    put(page, &a)
}

fn slot_trap(word: u64) -> Result {
    if word == NO_SLOT {
        slot_trap::clear();
    } else if !slot_trap::set_by_word(word) {
        return Err(Errno::INVAL);
    }
    Ok(())
}

fn call_hold(page: u64) -> Result {
    hold::set(phys::read(page).ok_or(Errno::FAULT)?);
    Ok(())
}

fn device_dma(page: u64) -> Result {
    let mut d: DeviceDma = phys::read(page).ok_or(Errno::FAULT)?;
    let len = d.len as usize;
    if len == 0 || len > d.data.len() || (d.user_vm_pa & (PAGE - 1)) + len as u64 > PAGE {
        return Err(Errno::INVAL);
    }
    let target = device::translate(d.phys_bdf, d.user_vm_pa, d.write == 1).ok_or(Errno::FAULT)?;
    if d.write == 1 {
        return phys::write_bytes(target, &d.data[..len]).ok_or(Errno::FAULT);
    }
    phys::read_bytes(target, &mut d.data[..len]).ok_or(Errno::FAULT)?;
    put(page, &d)
}
