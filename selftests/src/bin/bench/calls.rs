// SPDX-License-Identifier: GPL-2.0

//! P1: commands that make a single hypercall.

use std::{fs::File, os::fd::AsRawFd};

use acrn_selftests::{
    cpus, device::Argument, harness::Outcome, mapping_fixture::MappingFixture, need,
};
use acrn_uapi::{acrn_msi_entry, ioctl::*};

use crate::{
    clock::{Samples, rounds, warm_up},
    figure::Figure,
    hypervisor::Hypervisor,
};

/// The CPU that receives no upcalls.
pub const QUIET: usize = 1;
/// An unknown request: `_IO(0xA2, 0xff)`.
const UNKNOWN: libc::Ioctl = 0xa2ff;

/// Measures INJECT_MSI and SET_IRQLINE.
pub fn plain() -> Outcome {
    need!(cpus::stay_on(QUIET));
    let null = need!(null());
    let fixture = need!(MappingFixture::new());
    let mut msi = acrn_msi_entry {
        msi_addr: fixture.msi(),
        msi_data: 0x41,
    };
    let device = &fixture.device;
    call(&fixture, "INJECT_MSI", null, || {
        device
            .with(ACRN_IOCTL_INJECT_MSI, &mut msi)
            .expect("INJECT_MSI");
    });
    // Raises line 5 and lowers it again.
    const PULSE: u64 = 2 << 32 | 5;
    call(&fixture, "SET_IRQLINE", null, || {
        let line = Argument::Number(PULSE);
        device
            .ioctl(ACRN_IOCTL_SET_IRQLINE, line)
            .expect("SET_IRQLINE");
    });
    Outcome::Passed
}

fn call(fixture: &MappingFixture, work: &str, null: u64, mut operation: impl FnMut()) {
    warm_up(&mut operation);
    let hypervisor = Hypervisor::watch(&fixture.probe);
    let samples = Samples::take(rounds(), operation);
    let spent = hypervisor.spent(samples.count());
    Figure::of("P1", work)
        .times(&samples)
        .with("null", null)
        .with("hypervisor", spent)
        .print();
}

/// Returns the time of an ioctl that no driver knows.
fn null() -> Result<u64, String> {
    let file = File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
    let mut operation = || {
        // SAFETY: No driver knows the request.
        unsafe { libc::ioctl(file.as_raw_fd(), UNKNOWN, 0) };
    };
    warm_up(&mut operation);
    let samples = Samples::take(rounds(), operation);
    Ok(samples.median())
}
