// SPDX-License-Identifier: GPL-2.0

//! Cases of INJECT_MSI, SET_IRQLINE and VM_INTR_MONITOR.

use acrn_selftests::{
    device::{APIC, Argument, Device},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall,
    mapping_fixture::MappingFixture,
    need,
    probe::fault,
};
use acrn_uapi::{acrn_msi_entry, ioctl::*};
use zerocopy::IntoBytes;

use crate::{
    normal::changes,
    script::{Bytes, Script},
};

/// Prints the results of INJECT_MSI.
pub fn inject_msi() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_INJECT_MSI);
    let msi = |msi_addr, msi_data| acrn_msi_entry { msi_addr, msi_data };
    let good = msi(APIC, 0x31);
    script.without_vm(good.as_bytes());
    for (case, entry) in [
        ("fixed", good),
        ("lowest_priority", msi(APIC | 1 << 2, 0x131)),
        ("nmi", msi(APIC, 0x400)),
        ("extint", msi(APIC, 0x731)),
        ("smi", msi(APIC, 0x200)),
        ("vector_0", msi(APIC, 0)),
        ("no_such_vcpu", msi(APIC | 0xff << 12, 0x31)),
        ("not_the_apic", msi(0xfed0_0000, 0x31)),
        ("address_0", msi(0, 0x31)),
        ("high_address", msi(APIC | 1 << 40, 0x31)),
        ("high_data", msi(APIC, 0xffff_ffff_0000_0031)),
    ] {
        let _ = script.with(case, &fixture.device, &entry);
    }
    script.bad_pointers(&fixture.device);
    let read_only = Bytes::new(good.as_bytes());
    read_only.protect();
    let _ = script.call("pointer_read_only", &fixture.device, read_only.argument());
    script.refused(&fixture.device, hypercall::INJECT_MSI, good.as_bytes());
    fixture.destroy();
    let _ = script.with("destroyed", &fixture.device, &good);
    Outcome::Passed
}

/// Prints the results of SET_IRQLINE. Its argument is not a pointer.
pub fn set_irqline() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_SET_IRQLINE);
    let high = 5;
    let _ = script.call("no_vm", &need!(Device::open()), Argument::Number(high));
    for (case, value) in [
        ("high", high),
        ("low", 5 | 1 << 32),
        ("pulse_up", 5 | 2 << 32),
        ("pulse_down", 5 | 3 << 32),
        ("unknown_operation", 5 | 4 << 32),
        ("unknown_operation_last", 5 | 0xffff_ffff << 32),
        ("last_gsi", 47),
        ("gsi_48", 48),
        ("gsi_last", 0xffff_ffff),
    ] {
        let _ = script.call(case, &fixture.device, Argument::Number(value));
    }
    for (case, result) in [("hypervisor_EIO", -5), ("hypervisor_ENOTTY", -25)] {
        fixture
            .probe
            .push_fault(fault(hypercall::SET_IRQLINE, result));
        let _ = script.call(case, &fixture.device, Argument::Number(high));
    }
    fixture.destroy();
    let _ = script.call("destroyed", &fixture.device, Argument::Number(high));
    Outcome::Passed
}

/// Runs a case of VM_INTR_MONITOR. The argument is an address at `offset` of a page that begins
/// with `words`.
fn monitor(script: &Script<'_>, case: &str, device: &Device, offset: usize, words: [u32; 2]) {
    let page = GuestMemory::anonymous(PAGE);
    page.write::<u32>(0, words[0]);
    page.write::<u32>(4, words[1]);
    let bytes = || -> Vec<u8> { (0..PAGE).map(|at| page.read::<u8>(at)).collect() };
    let before = bytes();
    let _ = script.case(case, || {
        let done = device.ioctl(ACRN_IOCTL_VM_INTR_MONITOR, Argument::At(&page, offset));
        (done, changes(&before, &bytes()))
    });
}

/// Prints the results of VM_INTR_MONITOR. The argument is a page. When the command succeeds,
/// upstream's driver leaves a page pinned (A8).
pub fn vm_intr_monitor_results() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_VM_INTR_MONITOR);
    let get = |case, count| monitor(&script, case, &fixture.device, 0, [0, count]);
    get("get_nothing_yet", 48);
    // The hypervisor counts only interrupts that arrive.
    let msi_addr = fixture.msi();
    let inject = |vector| fixture.device.inject_msi(msi_addr, vector);
    inject(0x31).expect("INJECT_MSI");
    inject(0x45).expect("INJECT_MSI");
    get("get", 48);
    get("get_one", 2);
    get("get_none", 0);
    monitor(&script, "inside_the_page", &fixture.device, 0x808, [0, 48]);
    monitor(&script, "delay", &fixture.device, 0, [1, 0]);
    fixture.destroy();
    monitor(&script, "destroyed", &fixture.device, 0, [0, 48]);
    Outcome::Passed
}

/// Prints the errors of VM_INTR_MONITOR.
pub fn vm_intr_monitor() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let script = Script::of(&fixture.probe, ACRN_IOCTL_VM_INTR_MONITOR);
    let device = &fixture.device;
    monitor(&script, "no_vm", &need!(Device::open()), 0, [0, 48]);
    monitor(&script, "too_many", device, 0, [0, 49]);
    monitor(&script, "unknown_command", device, 0, [2, 48]);
    for (case, result) in [("hypervisor_EIO", -5), ("hypervisor_ENOTTY", -25)] {
        let refusal = fault(hypercall::VM_INTR_MONITOR, result);
        fixture.probe.push_fault(refusal);
        monitor(&script, case, device, 0, [0, 48]);
    }
    let hole = GuestMemory::anonymous(PAGE);
    hole.unmap(0, PAGE);
    let read_only = GuestMemory::anonymous(PAGE);
    read_only.protect();
    for (case, argument) in [
        ("pointer_null", Argument::NULL),
        ("pointer_kernel", Argument::KERNEL),
        ("pointer_not_canonical", Argument::Number(1 << 63)),
        ("pointer_last_byte", Argument::Number(u64::MAX)),
        ("pointer_unmapped", Argument::At(&hole, 0)),
        ("pointer_read_only", Argument::At(&read_only, 0)),
    ] {
        let _ = script.call(case, device, argument);
    }
    fixture.destroy();
    Outcome::Passed
}
