// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! SET_MEMORY_REGIONS.

use crate::vm::{self, Vm};
use crate::{frames, lapic, log, phys, rule, trace};
use acrn_hypercall_abi::{Hypercall, MemoryRegion, MemoryRegions};
use mini_acrn_channel::kind;
use mini_acrn_logic::errno::{Errno, Result};
use mini_acrn_logic::npt::{Access, Attr, PAGE, TOP};
use zerocopy::IntoBytes;

/// The largest page in the tables of a User VM is 2 MiB.
const MAX_LEVEL: u32 = 2;

/// Processes the entries of the array in order, up to the first error. `limit` is the maximum
/// number of entries.
pub fn set(gpa: u64, limit: Option<u32>) -> Result {
    let header: MemoryRegions = phys::read(gpa).ok_or(Errno::GENERIC)?;
    let vm = vm::get(header.vmid.into())?;
    vm.require_not_off()?;
    if header.mr_num == 0 {
        return Err(Errno::GENERIC);
    }
    let mut deleted = false;
    let mut result = Ok(());
    for i in 0..u64::from(header.mr_num.min(limit.unwrap_or(u32::MAX))) {
        let at = header.regions_gpa.checked_add(i * size_of::<MemoryRegion>() as u64);
        let Some(region) = at.and_then(phys::read::<MemoryRegion>) else {
            result = Err(Errno::GENERIC);
            break;
        };
        result = process(vm, &region);
        deleted |= region.type_ == MemoryRegion::DELETE && result.is_ok();
        trace::push(kind::MEMORY_REGION, vm.id, region.as_bytes(), |r| {
            r.result = result.map_or_else(Errno::value, |()| 0);
        });
        if result.is_err() {
            break;
        }
    }
    if deleted {
        vm.request_flush();
    }
    result
}

/// Rounds `address` up to a whole page. An address behind the start of the last page becomes 0.
fn round_up(address: u64) -> u64 {
    address.wrapping_add(PAGE - 1) & !(PAGE - 1)
}

/// Processes one entry with ACRN's checks: addresses need no alignment, adding a range that wraps
/// has no effect, and all of a deleted range must be mapped.
fn process(vm: &Vm, r: &MemoryRegion) -> Result {
    let service_vm_pa = round_up(r.service_vm_pa);
    let allowed = match r.type_ {
        MemoryRegion::ADD => may_be_mapped(service_vm_pa, r.size),
        MemoryRegion::DELETE => vm.maps_all(r.user_vm_pa, r.size),
        _ => false,
    };
    if !allowed || !r.size.is_multiple_of(PAGE) {
        if r.type_ == MemoryRegion::DELETE {
            log!(
                "VM {}: cannot unmap {:#x}, {:#x} bytes: not all of it is mapped",
                vm.id,
                r.user_vm_pa,
                r.size
            );
        }
        return Err(Errno::INVAL);
    }
    let user_vm_pa = round_up(r.user_vm_pa);
    match user_vm_pa.checked_add(r.size) {
        None if r.type_ == MemoryRegion::ADD => Ok(()),
        // ACRN's tables would wrap at the top.
        Some(end) if end <= TOP => {
            let r = MemoryRegion { user_vm_pa, service_vm_pa, ..*r };
            if r.type_ == MemoryRegion::ADD { add(vm, &r) } else { delete(vm, &r) }
        }
        _ => Err(Errno::INVAL),
    }
}

/// Returns whether a User VM may get the memory: it belongs to the Service VM, and is not the local
/// APIC.
fn may_be_mapped(start: u64, size: u64) -> bool {
    phys::is_service_space(start, size)
        && (start >= lapic::BASE + PAGE || start + size <= lapic::BASE)
}

fn add(vm: &Vm, r: &MemoryRegion) -> Result {
    let rights = Access::from_bits_truncate(r.attr);
    if rights.is_empty() || rights & (Access::READ | Access::WRITE) == Access::WRITE {
        // ACRN's entry is not present without any right. If the guest may write but not read, its
        // first access is an EPT misconfiguration, and ACRN fails an assertion.
        rule::broken(
            vm.id,
            Hypercall::SetMemoryRegions,
            format_args!("the rights {:#x} of {:#x} are none or write-only", r.attr, r.user_vm_pa),
        );
    }
    let npt = &mut *vm.npt.lock();
    let npt = npt.as_mut().ok_or(Errno::GENERIC)?;
    let pool = &mut *frames::POOL.lock();
    match npt.map(pool, r.user_vm_pa, r.service_vm_pa, r.size, Attr(r.attr), MAX_LEVEL) {
        Ok(false) => {}
        Ok(true) => {
            log!(
                "VM {}: part of {:#x}, {:#x} bytes, is mapped already",
                vm.id,
                r.user_vm_pa,
                r.size
            )
        }
        Err(_) => {
            // ACRN fails an assertion here.
            rule::broken(
                vm.id,
                Hypercall::SetMemoryRegions,
                format_args!("no page is left for nested page tables"),
            );
            return Err(Errno::GENERIC);
        }
    }
    Ok(())
}

fn delete(vm: &Vm, r: &MemoryRegion) -> Result {
    let npt = &mut *vm.npt.lock();
    let npt = npt.as_mut().ok_or(Errno::GENERIC)?;
    let pool = &mut *frames::POOL.lock();
    npt.unmap(pool, r.user_vm_pa, r.size).map_err(|_| {
        rule::broken(
            vm.id,
            Hypercall::SetMemoryRegions,
            format_args!("no page is left to split a large page"),
        );
        Errno::GENERIC
    })
}
