// SPDX-License-Identifier: GPL-2.0

//! Tests of interrupts whose hypercall is in progress when the device model makes another command.

use std::thread;

use acrn_selftests::{
    cpus,
    device::APIC,
    harness::Outcome,
    hypercall::{INJECT_MSI, PAUSE_VM},
    mapping_fixture::MappingFixture,
    need,
    trace::Trace,
    waiter::until,
};
use acrn_uapi::ioctl::*;

/// Duration of the hypercall in milliseconds. Interrupts are disabled on the CPU that makes it.
const IN_FLIGHT_MS: u16 = 500;

/// PAUSE_VM waits for an INJECT_MSI that is in progress. Otherwise the interrupt would wake a vCPU
/// of the paused VM.
pub fn pause_waits() -> Outcome {
    let fixture = need!(MappingFixture::new());
    need!(cpus::stay_on(1));
    let trace = Trace::start(&fixture.probe);
    fixture
        .probe
        .hold_for(INJECT_MSI, fixture.vmid, IN_FLIGHT_MS);
    let (pinned, injected) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let pinned = cpus::stay_on(0);
            (pinned, fixture.device.inject_msi(APIC, 0x41))
        });
        until("INJECT_MSI is in progress", || {
            fixture.probe.is_held() || sender.is_finished()
        });
        fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        sender.join().expect("join the thread")
    });
    need!(pinned);
    assert_eq!(injected, Ok(()));
    assert_eq!(trace.ids(), [INJECT_MSI, PAUSE_VM]);
    fixture.destroy();
    Outcome::Passed
}
