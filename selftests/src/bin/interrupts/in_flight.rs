// SPDX-License-Identifier: GPL-2.0

//! Tests of interrupts whose hypercall is in progress when the device model makes another command.

use std::thread;

use acrn_selftests::{
    cpus,
    device::{APIC, Device},
    harness::Outcome,
    hypercall::{INJECT_MSI, PAUSE_VM, SET_IRQLINE},
    mapping_fixture::MappingFixture,
    need,
    trace::Trace,
    waiter::until,
};
use acrn_uapi::ioctl::*;

/// Duration of the hypercall in milliseconds. Interrupts are disabled on the CPU that makes it.
const IN_FLIGHT_MS: u16 = 500;

/// PAUSE_VM waits for an INJECT_MSI or SET_IRQLINE that is in progress. Otherwise the interrupt
/// would wake a vCPU of the paused VM.
pub fn pause_waits() -> Outcome {
    let msi = |device: &Device| device.inject_msi(APIC, 0x41);
    let line = |device: &Device| device.set_irqline(5, 0);
    let commands: [(u32, &(dyn Fn(&Device) -> _ + Sync)); 2] =
        [(INJECT_MSI, &msi), (SET_IRQLINE, &line)];
    need!(cpus::stay_on(1));
    for (id, inject) in commands {
        let fixture = need!(MappingFixture::new());
        let trace = Trace::start(&fixture.probe);
        fixture.probe.hold_for(id, fixture.vmid, IN_FLIGHT_MS);
        let (pinned, injected) = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let pinned = cpus::stay_on(0);
                (pinned, inject(&fixture.device))
            });
            until("the hypercall is in progress", || {
                fixture.probe.is_held() || sender.is_finished()
            });
            fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
            sender.join().expect("join the thread")
        });
        need!(pinned);
        assert_eq!(injected, Ok(()));
        assert_eq!(trace.ids(), [id, PAUSE_VM]);
        fixture.destroy();
    }
    Outcome::Passed
}
