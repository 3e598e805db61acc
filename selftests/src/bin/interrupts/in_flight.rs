// SPDX-License-Identifier: GPL-2.0

//! Interrupts that are on their way to the hypervisor when something else happens.

use std::thread;

use acrn_selftests::{
    cpus,
    harness::Outcome,
    hypercall::{INJECT_MSI, PAUSE_VM},
    mapping_fixture::MappingFixture,
    need,
    trace::Trace,
    waiter::until,
};
use acrn_uapi::{acrn_msi_entry, ioctl::*};

/// How long an interrupt is on its way. The CPU that sends it has its interrupts off.
const ON_ITS_WAY_MS: u16 = 500;

/// PAUSE_VM while an interrupt is on its way: the hypervisor is told of the interrupt first. It would wake a vCPU of
/// the paused VM otherwise.
pub fn pause_waits() -> Outcome {
    let fixture = need!(MappingFixture::new());
    need!(cpus::stay_on(1));
    let trace = Trace::start(&fixture.probe);
    fixture
        .probe
        .hold_for(INJECT_MSI, fixture.vmid, ON_ITS_WAY_MS);
    let (pinned, injected) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut msi = acrn_msi_entry {
                msi_addr: 0xfee0_0000,
                msi_data: 0x41,
            };
            let pinned = cpus::stay_on(0);
            (pinned, fixture.device.with(ACRN_IOCTL_INJECT_MSI, &mut msi))
        });
        until("the interrupt is on its way", || {
            fixture.probe.is_held() || sender.is_finished()
        });
        fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        sender.join().expect("a thread")
    });
    need!(pinned);
    assert_eq!(injected, Ok(()));
    assert_eq!(trace.ids(), [INJECT_MSI, PAUSE_VM]);
    fixture.destroy();
    Outcome::Passed
}
