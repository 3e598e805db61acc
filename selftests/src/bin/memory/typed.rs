// SPDX-License-Identifier: GPL-2.0

//! Tests of the methods of acrn-ioctls for memory.

use acrn_hypercall_abi::MemoryRegion;
use acrn_ioctls::MemoryAttributes;
use acrn_selftests::{
    cpus,
    guest::{Guest, MEMORY},
    guest_memory::PAGE,
    harness::Outcome,
    need,
    probe::Probe,
    trace::Trace,
};

/// Device memory is set with the requested attributes, and unset.
pub fn mmio_by_acrn_ioctls() -> Outcome {
    const USER: u64 = 0xd000_0000;
    /// The HPET, which every machine of QEMU has.
    const DEVICE: u64 = 0xfed0_0000;
    const LEN: u64 = PAGE as u64;
    let probe = need!(Probe::open());
    let guest = Guest::without_client(need!(cpus::pick(1)));
    let trace = Trace::start(&probe);
    let attributes = MemoryAttributes::DEVICE;
    // SAFETY: The guest does not run, and its accesses would not harm the Service VM.
    unsafe { guest.vm.set_mmio(USER, DEVICE, LEN, attributes) }.expect("SET_MEMSEG");
    assert_eq!(probe.mapping(guest.vm.vmid(), USER).service_vm_pa, DEVICE);
    guest
        .vm
        .unset_mmio(USER, DEVICE, LEN)
        .expect("UNSET_MEMSEG");
    assert_eq!(probe.mapping(guest.vm.vmid(), USER).mapped, 0);
    let regions = trace.regions();
    let added = MemoryRegion {
        type_: MemoryRegion::ADD,
        attr: attributes.bits(),
        user_vm_pa: USER,
        service_vm_pa: DEVICE,
        size: LEN,
    };
    assert_eq!(regions[0], added);
    let deleted = (regions[1].type_, regions[1].user_vm_pa, regions[1].size);
    assert_eq!(deleted, (MemoryRegion::DELETE, USER, LEN));
    assert_eq!(regions.len(), 2);
    Outcome::Passed
}

/// RAM is unset (A17).
pub fn unset_by_acrn_ioctls() -> Outcome {
    let probe = need!(Probe::open());
    let guest = Guest::without_client(need!(cpus::pick(1)));
    let mapped = || probe.vm(guest.vm.vmid()).map(|vm| vm.mapped_bytes);
    assert_eq!(mapped(), Some(MEMORY as u64));
    guest
        .vm
        .unset_memory(0, guest.memory.address(), MEMORY as u64)
        .expect("UNSET_MEMSEG");
    assert_eq!(mapped(), Some(0));
    Outcome::Passed
}
