// SPDX-License-Identifier: GPL-2.0

//! Tests of the parameters of the hypercalls, and of the hypervisor's errors, which the driver
//! passes on.

use acrn_selftests::{
    device::Argument,
    harness::Outcome,
    hypercall::{INJECT_MSI, SET_IRQLINE},
    mapping_fixture::MappingFixture,
    need,
    probe::fault,
    trace::{Trace, parameter},
};
use acrn_uapi::{acrn_msi_entry, ioctl::*};
use mini_acrn_channel::Fault;
use nix::errno::Errno;

fn inject(fixture: &MappingFixture, msi_addr: u64, msi_data: u64) -> Result<(), Errno> {
    fixture.device.inject_msi(msi_addr, msi_data)
}

fn set_line(fixture: &MappingFixture, line: u64) -> Result<(), Errno> {
    fixture
        .device
        .ioctl(ACRN_IOCTL_SET_IRQLINE, Argument::Number(line))
}

/// INJECT_MSI passes address and data on unchanged.
pub fn msi_parameters() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    for (address, data) in [(0xfee0_0000, 0x41), (0xfee0_0000, 0x1ef)] {
        inject(&fixture, address, data).expect("INJECT_MSI");
        let calls = trace.calls(INJECT_MSI);
        let last = calls.last().expect("the INJECT_MSI hypercall");
        let passed: acrn_msi_entry = parameter(last);
        assert_eq!((passed.msi_addr, passed.msi_data), (address, data));
        assert_eq!(last.p1, u64::from(fixture.vmid));
    }
    fixture.destroy();
    Outcome::Passed
}

/// SET_IRQLINE passes GSI and operation on unchanged.
pub fn line_parameters() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let trace = Trace::start(&fixture.probe);
    for line in [0, 5, 1 << 32 | 47, 2 << 32 | 4, 3 << 32 | 4] {
        set_line(&fixture, line).expect("SET_IRQLINE");
        let calls = trace.calls(SET_IRQLINE);
        let last = calls.last().expect("the SET_IRQLINE hypercall");
        assert_eq!((last.p1, last.p2), (u64::from(fixture.vmid), line));
    }
    fixture.destroy();
    Outcome::Passed
}

/// INJECT_MSI fails for an address outside of the local APICs.
pub fn msi_to_nowhere() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for address in [0, 0xfed0_0000, 0xdee0_0000] {
        assert_eq!(
            inject(&fixture, address, 0x41),
            Err(Errno::EPERM),
            "{address:#x}"
        );
    }
    fixture.destroy();
    Outcome::Passed
}

/// SET_IRQLINE fails for lines that the VM does not have.
pub fn unknown_line() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for gsi in [48, 1000, 0xffff_ffff] {
        assert_eq!(set_line(&fixture, gsi), Err(Errno::EPERM), "GSI {gsi}");
    }
    fixture.destroy();
    Outcome::Passed
}

/// Makes INJECT_MSI and SET_IRQLINE, each with `result` as the hypervisor's result.
fn results_with(fixture: &MappingFixture, result: i64) -> [Result<(), Errno>; 2] {
    for id in [INJECT_MSI, SET_IRQLINE] {
        fixture.probe.push_fault(Fault {
            vmid: fixture.vmid,
            ..fault(id, result)
        });
    }
    [inject(fixture, 0xfee0_0000, 0x41), set_line(fixture, 5)]
}

/// INJECT_MSI and SET_IRQLINE pass on any error of the hypervisor.
pub fn errors_passed_on() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for errno in [Errno::EPERM, Errno::EINVAL, Errno::EFAULT, Errno::EBUSY] {
        let results = results_with(&fixture, -i64::from(errno as i32));
        assert_eq!(results, [Err(errno); 2]);
    }
    fixture.destroy();
    Outcome::Passed
}

/// Negative results are errors, even if they are out of the range of errno.
pub fn results_that_are_no_errno() -> Outcome {
    const LEAST: i64 = -4095;
    let fixture = need!(MappingFixture::new());
    for result in [
        LEAST - 1,
        -0x1_0000,
        i32::MIN.into(),
        // Truncated to 32 bits, these would be 0, -1 and a success.
        -1 << 32,
        (-1 << 32) - 1,
        (-1 << 32) + 1,
        i64::MIN,
    ] {
        let results = results_with(&fixture, result);
        assert_eq!(results, [Err(Errno::EIO); 2], "{result:#x}");
    }
    let results = results_with(&fixture, LEAST);
    assert_eq!(results, [Err(Errno::UnknownErrno); 2]);
    fixture.destroy();
    Outcome::Passed
}

/// Positive results are success. ACRN does not return them.
pub fn positive_results() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for result in [1, 25, 4096, i32::MAX.into()] {
        let results = results_with(&fixture, result);
        assert_eq!(results, [Ok(()); 2], "{result:#x}");
    }
    fixture.destroy();
    Outcome::Passed
}

/// INJECT_MSI and SET_IRQLINE return the same results for a paused VM, although the driver makes no
/// hypercalls.
pub fn paused_answers_the_same() -> Outcome {
    const ADDRESSES: [u64; 8] = [
        0xfee0_0000,
        0xfeef_fffc,
        // These have bits set that the hypervisor ignores.
        0xffff_ffff_fee0_0000,
        0x1_fee0_0000,
        0xfed0_0000,
        0xfef0_0000,
        0xffff_ffff_fed0_0000,
        0xfee0_0000 << 32,
    ];
    const LINES: [u64; 6] = [0, 47, 48, 2 << 32 | 47, 2 << 32 | 48, 0xffff_ffff];
    let fixture = need!(MappingFixture::new());
    let results = || {
        let injected = ADDRESSES.map(|address| inject(&fixture, address, 0x41));
        (injected, LINES.map(|line| set_line(&fixture, line)))
    };
    let running = results();
    assert!(running.0[2].is_ok() && running.0[4].is_err(), "{running:?}");
    fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&fixture.probe);
    assert_eq!(results(), running);
    trace.assert_no_hypercalls();
    fixture.destroy();
    Outcome::Passed
}
