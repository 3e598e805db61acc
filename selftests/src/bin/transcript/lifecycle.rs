// SPDX-License-Identifier: GPL-2.0

//! Cases of the commands that change the state of a VM, and of SET_VCPU_REGS, in each state.

use std::mem::offset_of;

use crate::script::{Bytes, Script};
use acrn_selftests::{
    cpus,
    device::Device,
    guest::{Guest, create_raw},
    harness::Outcome,
    hypercall::{self},
    mapping_fixture::MappingFixture,
    need,
    probe::Probe,
    program,
};
use acrn_uapi::{acrn_vcpu_regs, ioctl::*};

/// Creates a guest that reports that it runs and then spins. The report stays in the slot of the
/// vCPU.
fn spinning() -> Result<(Guest, Device), String> {
    let guest = Guest::long_mode(cpus::pick(1)?, &program::greet_and_spin());
    let device = Device::sharing(&guest.vm);
    Ok((guest, device))
}

/// Runs the cases that all four commands share.
fn everywhere(probe: &Probe, request: u32, hypercall: u32) -> Outcome {
    let script = Script::of(probe, request);
    script.without_vm(&[]);
    let fixture = need!(MappingFixture::new());
    script.refused(&fixture.device, hypercall, &[]);
    fixture.destroy();
    let _ = script.plain("destroyed", &fixture.device);
    Outcome::Passed
}

/// Prints the results of START_VM in each state.
pub fn start_vm() -> Outcome {
    let probe = need!(Probe::open());
    let script = Script::of(&probe, ACRN_IOCTL_START_VM);
    let (_guest, device) = need!(spinning());
    let _ = script.plain("created", &device);
    let _ = script.plain("running", &device);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let _ = script.plain("paused", &device);
    everywhere(&probe, ACRN_IOCTL_START_VM, hypercall::START_VM)
}

/// Prints the results of PAUSE_VM in each state.
pub fn pause_vm() -> Outcome {
    let probe = need!(Probe::open());
    let script = Script::of(&probe, ACRN_IOCTL_PAUSE_VM);
    let (guest, device) = need!(spinning());
    device.plain(ACRN_IOCTL_START_VM).expect("START_VM");
    let _ = script.plain("running", &device);
    let _ = script.plain("paused", &device);
    // The next VM uses the same CPU, so that mini-ACRN gives it the same id after any earlier test.
    drop((guest, device));
    let (created, _page, _) = create_raw(need!(cpus::pick(1)));
    let _ = script.plain("created", &created);
    drop(created);
    everywhere(&probe, ACRN_IOCTL_PAUSE_VM, hypercall::PAUSE_VM)
}

/// Prints the results of RESET_VM in each state.
pub fn reset_vm() -> Outcome {
    let probe = need!(Probe::open());
    let script = Script::of(&probe, ACRN_IOCTL_RESET_VM);
    let (_guest, device) = need!(spinning());
    let _ = script.plain("created", &device);
    device.plain(ACRN_IOCTL_START_VM).expect("START_VM");
    let _ = script.plain("running", &device);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let _ = script.plain("paused", &device);
    let _ = script.plain("twice", &device);
    everywhere(&probe, ACRN_IOCTL_RESET_VM, hypercall::RESET_VM)
}

/// Prints the results of DESTROY_VM in each state.
pub fn destroy_vm() -> Outcome {
    let probe = need!(Probe::open());
    let script = Script::of(&probe, ACRN_IOCTL_DESTROY_VM);
    let (_guest, device) = need!(spinning());
    let _ = script.plain("created", &device);
    device.plain(ACRN_IOCTL_START_VM).expect("START_VM");
    let _ = script.plain("running", &device);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let _ = script.plain("paused", &device);
    let _ = script.plain("twice", &device);
    everywhere(&probe, ACRN_IOCTL_DESTROY_VM, hypercall::DESTROY_VM)
}

/// The bytes of a `struct acrn_vcpu_regs`, which contains padding.
#[derive(Clone)]
struct Registers([u8; size_of::<acrn_vcpu_regs>()]);

impl Registers {
    /// Returns registers of vCPU 0 in real mode.
    fn new() -> Self {
        Self([0; _]).with(offset_of!(acrn_vcpu_regs, vcpu_regs.cr0), &[0x30])
    }

    /// Returns the same registers with other bytes from `offset` on.
    fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }
}

/// Prints the results of SET_VCPU_REGS in each state, and for valid and invalid registers.
pub fn set_vcpu_regs() -> Outcome {
    let probe = need!(Probe::open());
    let script = Script::of(&probe, ACRN_IOCTL_SET_VCPU_REGS);
    let good = Registers::new();
    script.without_vm(&good.0);
    let (guest, device) = need!(spinning());
    let set = |case: &str, registers: &Registers| {
        let _ = script.bytes(case, &device, &registers.0);
    };
    set("created", &good);
    guest.load_long_mode(&program::greet_and_spin());
    device.plain(ACRN_IOCTL_START_VM).expect("START_VM");
    set("running", &good);
    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    set("paused", &good);

    macro_rules! field {
        ($($field:tt)*) => { offset_of!(acrn_vcpu_regs, $($field)*) };
    }
    let ones = [0xff; 8];
    for (case, offset, bytes) in [
        ("reserved_first", field!(reserved), &[1][..]),
        ("reserved_last", field!(reserved) + 4, &[0, 0x80]),
        ("reserved_64", field!(vcpu_regs.reserved_64) + 24, &[1]),
        ("reserved_32", field!(vcpu_regs.reserved_32) + 8, &[1]),
        ("gdt_reserved", field!(vcpu_regs.gdt.reserved) + 4, &[1]),
        ("idt_reserved", field!(vcpu_regs.idt.reserved), &[1]),
        ("vcpu_1", field!(vcpu_id), &[1]),
        ("vcpu_16", field!(vcpu_id), &[16]),
        ("vcpu_65535", field!(vcpu_id), &ones[..2]),
        ("bad_cr0", field!(vcpu_regs.cr0), &ones),
        ("bad_cr4", field!(vcpu_regs.cr4), &ones),
        ("r15", field!(vcpu_regs.gprs.r15), &ones),
        ("rip", field!(vcpu_regs.rip), &[0xf0, 0xde, 0xbc, 0x9a]),
        (
            "tr_and_padding",
            field!(vcpu_regs.tr_sel),
            &[8, 0, 1, 2, 3, 4],
        ),
    ] {
        set(case, &good.clone().with(offset, bytes));
    }
    script.bad_pointers(&device);
    let read_only = Bytes::new(&good.0);
    read_only.protect();
    let _ = script.call("pointer_read_only", &device, read_only.argument());
    script.refused(&device, hypercall::SET_VCPU_REGS, &good.0);
    Outcome::Passed
}

/// Prints the results of closing a file whose VM is destroyed, and a file that never had a VM.
pub fn close() -> Outcome {
    let probe = need!(Probe::open());
    let script = Script::called(&probe, 0, "CLOSE");
    let device = need!(Device::open());
    let closed = |device: Device| {
        device.close();
        (Ok(()), String::new())
    };
    let _ = script.case("no_vm", || closed(device));
    let fixture = need!(MappingFixture::new());
    fixture.destroy();
    let _ = script.case("destroyed", || closed(fixture.device));
    Outcome::Passed
}

/// Prints the results of closing a file with a VM.
pub fn close_with_vm() -> Outcome {
    let probe = need!(Probe::open());
    let script = Script::called(&probe, 0, "CLOSE");
    let closed = |device: Device| {
        device.close();
        (Ok(()), format!("{} VMs left", probe.vms().len()))
    };
    for (case, requests) in [("paused", &[ACRN_IOCTL_PAUSE_VM][..]), ("created", &[])] {
        let (device, _page, _) = create_raw(need!(cpus::pick(1)));
        for request in requests {
            device.plain(*request).expect("a change of state");
        }
        let _ = script.case(case, || closed(device));
        for vm in probe.vms() {
            probe.destroy(vm.vmid);
        }
    }
    Outcome::Passed
}
