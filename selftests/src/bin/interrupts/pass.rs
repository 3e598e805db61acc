// SPDX-License-Identifier: GPL-2.0

//! What the hypervisor is told, and that its errors are passed on.

use acrn_selftests::{
    bench::Bench,
    device::Argument,
    harness::Outcome,
    hypercall::{INJECT_MSI, SET_IRQLINE},
    need,
    trace::{Trace, parameter},
};
use acrn_uapi::{acrn_msi_entry, ioctl::*};
use mini_acrn_channel::Fault;
use nix::errno::Errno;
use zerocopy::FromZeros;

fn inject(bench: &Bench, msi_addr: u64, msi_data: u64) -> Result<(), Errno> {
    let mut msi = acrn_msi_entry { msi_addr, msi_data };
    bench.device.with(ACRN_IOCTL_INJECT_MSI, &mut msi)
}

fn set_line(bench: &Bench, line: u64) -> Result<(), Errno> {
    bench
        .device
        .ioctl(ACRN_IOCTL_SET_IRQLINE, Argument::Number(line))
}

/// INJECT_MSI: address and data as they are.
pub fn msi_parameters() -> Outcome {
    let bench = need!(Bench::new());
    let trace = Trace::start(&bench.probe);
    for (address, data) in [(0xfee0_0000, 0x41), (0xfee0_0000, 0x1ef)] {
        inject(&bench, address, data).expect("INJECT_MSI");
        let calls = trace.calls(INJECT_MSI);
        let last = calls.last().expect("a hypercall");
        let told: acrn_msi_entry = parameter(last);
        assert_eq!((told.msi_addr, told.msi_data), (address, data));
        assert_eq!(last.p1, u64::from(bench.vmid));
    }
    bench.destroy();
    Outcome::Passed
}

/// SET_IRQLINE: GSI and operation as they are.
pub fn line_parameters() -> Outcome {
    let bench = need!(Bench::new());
    let trace = Trace::start(&bench.probe);
    for line in [0, 5, 1 << 32 | 23, 2 << 32 | 4, 3 << 32 | 4] {
        set_line(&bench, line).expect("SET_IRQLINE");
        let calls = trace.calls(SET_IRQLINE);
        let last = calls.last().expect("a hypercall");
        assert_eq!((last.p1, last.p2), (u64::from(bench.vmid), line));
    }
    bench.destroy();
    Outcome::Passed
}

/// An address that is no local APIC's.
pub fn msi_to_nowhere() -> Outcome {
    let bench = need!(Bench::new());
    for address in [0, 0xfed0_0000, 0xdee0_0000] {
        assert_eq!(
            inject(&bench, address, 0x41),
            Err(Errno::EPERM),
            "{address:#x}"
        );
    }
    bench.destroy();
    Outcome::Passed
}

/// Lines that the VM does not have.
pub fn unknown_line() -> Outcome {
    let bench = need!(Bench::new());
    for gsi in [24, 1000, 0xffff_ffff] {
        assert_eq!(set_line(&bench, gsi), Err(Errno::EPERM), "GSI {gsi}");
    }
    bench.destroy();
    Outcome::Passed
}

/// Any error of the hypervisor.
pub fn errors_passed_on() -> Outcome {
    let bench = need!(Bench::new());
    for errno in [Errno::EPERM, Errno::EINVAL, Errno::EFAULT, Errno::EBUSY] {
        for id in [INJECT_MSI, SET_IRQLINE] {
            let mut fault = Fault::new_zeroed();
            fault.id = id;
            fault.vmid = bench.vmid;
            fault.count = 1;
            fault.result = -i64::from(errno as i32);
            bench.probe.push_fault(fault);
        }
        assert_eq!(inject(&bench, 0xfee0_0000, 0x41), Err(errno), "INJECT_MSI");
        assert_eq!(set_line(&bench, 5), Err(errno), "SET_IRQLINE");
    }
    bench.destroy();
    Outcome::Passed
}
