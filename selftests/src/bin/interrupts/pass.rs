// SPDX-License-Identifier: GPL-2.0

//! What the hypervisor is told, and that its errors are passed on.

use acrn_selftests::{
    bench::Bench,
    device::Argument,
    harness::Outcome,
    hypercall::{INJECT_MSI, SET_IRQLINE},
    need,
    probe::fault,
    trace::{Trace, parameter},
};
use acrn_uapi::{acrn_msi_entry, ioctl::*};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

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
    for line in [0, 5, 1 << 32 | 47, 2 << 32 | 4, 3 << 32 | 4] {
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
    for gsi in [48, 1000, 0xffff_ffff] {
        assert_eq!(set_line(&bench, gsi), Err(Errno::EPERM), "GSI {gsi}");
    }
    bench.destroy();
    Outcome::Passed
}

/// INJECT_MSI and SET_IRQLINE, when the hypervisor's result is `result`.
fn answered_with(bench: &Bench, result: i64) -> [Result<(), Errno>; 2] {
    for id in [INJECT_MSI, SET_IRQLINE] {
        bench.probe.push_fault(Fault {
            vmid: bench.vmid,
            ..fault(id, result)
        });
    }
    [inject(bench, 0xfee0_0000, 0x41), set_line(bench, 5)]
}

/// Any error of the hypervisor.
pub fn errors_passed_on() -> Outcome {
    let bench = need!(Bench::new());
    for errno in [Errno::EPERM, Errno::EINVAL, Errno::EFAULT, Errno::EBUSY] {
        let results = answered_with(&bench, -i64::from(errno as i32));
        assert_eq!(results, [Err(errno); 2]);
    }
    bench.destroy();
    Outcome::Passed
}

/// Numbers that are too far below zero for an errno: errors they are, and nobody takes them for a success.
pub fn results_that_are_no_errno() -> Outcome {
    const LEAST: i64 = -4095;
    let bench = need!(Bench::new());
    for result in [
        LEAST - 1,
        -0x1_0000,
        i32::MIN.into(),
        // As 32 bits these would be 0, -1 and a success.
        -1 << 32,
        (-1 << 32) - 1,
        (-1 << 32) + 1,
        i64::MIN,
    ] {
        let results = answered_with(&bench, result);
        assert_eq!(results, [Err(Errno::EIO); 2], "{result:#x}");
    }
    let results = answered_with(&bench, LEAST);
    assert_eq!(results, [Err(Errno::UnknownErrno); 2]);
    bench.destroy();
    Outcome::Passed
}

/// Numbers above zero, which ACRN does not have: no errors.
pub fn positive_results() -> Outcome {
    let bench = need!(Bench::new());
    for result in [1, 25, 4096, i32::MAX.into()] {
        let results = answered_with(&bench, result);
        assert_eq!(results, [Ok(()); 2], "{result:#x}");
    }
    bench.destroy();
    Outcome::Passed
}

/// A paused VM gives the same answers, though the hypervisor is not asked.
pub fn paused_answers_the_same() -> Outcome {
    const ADDRESSES: [u64; 8] = [
        0xfee0_0000,
        0xfeef_fffc,
        // Bits that the hypervisor does not look at.
        0xffff_ffff_fee0_0000,
        0x1_fee0_0000,
        0xfed0_0000,
        0xfef0_0000,
        0xffff_ffff_fed0_0000,
        0xfee0_0000 << 32,
    ];
    const LINES: [u64; 6] = [0, 47, 48, 2 << 32 | 47, 2 << 32 | 48, 0xffff_ffff];
    let bench = need!(Bench::new());
    let answers = || {
        let injected = ADDRESSES.map(|address| inject(&bench, address, 0x41));
        (injected, LINES.map(|line| set_line(&bench, line)))
    };
    let running = answers();
    assert!(running.0[2].is_ok() && running.0[4].is_err(), "{running:?}");
    bench.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&bench.probe);
    assert_eq!(answers(), running);
    assert_eq!(trace.ids(), []);
    bench.destroy();
    Outcome::Passed
}
