// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! SET_MEMORY_REGIONS.

use crate::vm::{self, Vm};
use crate::{frames, lapic, log, phys, trace};
use mini_acrn_channel::kind;
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::npt::{Attr, PAGE, TOP};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const ADD: u32 = 0;
const DELETE: u32 = 2;
/// Largest page in a User VM's tables: 2 MiB.
const MAX_LEVEL: u32 = 2;

/// Parameter of the hypercall.
#[repr(C)]
#[derive(FromBytes, Immutable, KnownLayout)]
struct Header {
    vmid: u16,
    reserved: [u16; 3],
    num: u32,
    reserved2: u32,
    /// Address of the array.
    regions: u64,
}

/// One entry of the array.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Region {
    kind: u32,
    attr: u32,
    user_vm_pa: u64,
    service_vm_pa: u64,
    size: u64,
}

/// Carries the array out, in order, up to the first error; `limit` cuts it short.
pub fn set(gpa: u64, limit: Option<u32>) -> Result {
    let header: Header = phys::read(gpa).ok_or(Errno::GENERIC)?;
    let vm = vm::get(header.vmid.into())?;
    vm.require_on()?;
    if header.num == 0 {
        return Err(Errno::GENERIC);
    }
    let mut deleted = false;
    let mut result = Ok(());
    for i in 0..u64::from(header.num.min(limit.unwrap_or(u32::MAX))) {
        let at = header.regions.checked_add(i * size_of::<Region>() as u64);
        let Some(region) = at.and_then(phys::read::<Region>) else {
            result = Err(Errno::GENERIC);
            break;
        };
        result = one(vm, &region);
        deleted |= region.kind == DELETE && result.is_ok();
        trace::push(kind::MEMORY_REGION, vm.id, region.as_bytes(), |r| {
            r.result = result.map_or_else(Errno::value, |()| 0);
        });
        if result.is_err() {
            break;
        }
    }
    if deleted {
        vm.flush();
    }
    result
}

fn one(vm: &Vm, r: &Region) -> Result {
    let aligned = [r.user_vm_pa, r.service_vm_pa, r.size].iter().all(|v| v.is_multiple_of(PAGE));
    if !aligned || r.user_vm_pa.checked_add(r.size).is_none_or(|end| end > TOP) {
        return Err(Errno::INVAL);
    }
    match r.kind {
        ADD => add(vm, r),
        DELETE => delete(vm, r),
        _ => Err(Errno::INVAL),
    }
}

fn add(vm: &Vm, r: &Region) -> Result {
    if !phys::is_service_space(r.service_vm_pa, r.size) {
        return Err(Errno::INVAL);
    }
    // Nobody is given a real local APIC.
    let end = r.service_vm_pa + r.size;
    if r.service_vm_pa < lapic::BASE + PAGE && end > lapic::BASE {
        return Err(Errno::INVAL);
    }
    let npt = &mut *vm.npt.lock();
    let npt = npt.as_mut().ok_or(Errno::GENERIC)?;
    let pool = &mut *frames::POOL.lock();
    match npt.map(pool, r.user_vm_pa, r.service_vm_pa, r.size, Attr(r.attr), MAX_LEVEL) {
        Ok(false) => {}
        Ok(true) => {
            log!("VM {}: part of {:#x}, {:#x} bytes, was mapped already", vm.id, r.user_vm_pa, r.size)
        }
        Err(_) => {
            log!("VM {}: no pages left for nested page tables", vm.id);
            return Err(Errno::GENERIC);
        }
    }
    Ok(())
}

fn delete(vm: &Vm, r: &Region) -> Result {
    if vm.query(r.user_vm_pa).is_none() {
        return Err(Errno::INVAL);
    }
    let npt = &mut *vm.npt.lock();
    let npt = npt.as_mut().ok_or(Errno::GENERIC)?;
    let pool = &mut *frames::POOL.lock();
    npt.unmap(pool, r.user_vm_pa, r.size).map_err(|_| Errno::GENERIC)
}
