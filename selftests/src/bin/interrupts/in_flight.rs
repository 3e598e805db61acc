// SPDX-License-Identifier: GPL-2.0

//! Tests of interrupts whose hypercall is in progress when the device model makes another command.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use acrn_selftests::{
    cpus,
    device::{APIC, Device},
    harness::Outcome,
    hypercall::{INJECT_MSI, PAUSE_VM, SET_IRQLINE},
    mapping_fixture::MappingFixture,
    need,
    trace::{self, Trace},
    waiter::until,
};
use acrn_uapi::{acrn_msi_entry, ioctl::*};
use nix::errno::Errno;

/// Duration of the hypercall in milliseconds. Interrupts are disabled on the CPU that makes it.
const IN_FLIGHT_MS: u16 = 500;

/// A command that injects an interrupt.
type Inject = dyn Fn(&Device) -> Result<(), Errno> + Sync;

/// PAUSE_VM waits for an INJECT_MSI or SET_IRQLINE that is in progress. Otherwise the interrupt
/// would wake a vCPU of the paused VM.
pub fn pause_waits() -> Outcome {
    let msi = |device: &Device| device.inject_msi(APIC, 0x41);
    let line = |device: &Device| device.set_irqline(5, 0);
    let commands: [(u32, &Inject); 2] = [(INJECT_MSI, &msi), (SET_IRQLINE, &line)];
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

/// MSIs that are injected at the same time are injected as they are.
///
/// The first INJECT_MSI is in progress when the second one begins. The third one begins on the CPU
/// of the second one as soon as interrupts are enabled there.
pub fn msis_at_once() -> Outcome {
    need!(cpus::stay_on(1));
    let fixture = need!(MappingFixture::new());
    let inject = |vector| fixture.device.inject_msi(APIC, vector);
    // A round shows nothing if interrupts are enabled on the CPU when the third INJECT_MSI is due,
    // because the machine is slow. The next one takes longer. On PREEMPT_RT they are never
    // disabled.
    let mut limit_ms = 200;
    until("an INJECT_MSI begins during another one", || {
        let trace = Trace::start(&fixture.probe);
        fixture.probe.hold_for(INJECT_MSI, fixture.vmid, limit_ms);
        let (has_ended, has_begun) = (AtomicBool::new(false), AtomicBool::new(false));
        let until_held = || {
            until("the first INJECT_MSI is in progress", || {
                fixture.probe.is_held() || has_ended.load(Ordering::Relaxed)
            });
        };
        let is_shown = thread::scope(|scope| {
            scope.spawn(|| {
                cpus::stay_on(0).expect("CPU 0");
                inject(0x41).expect("the first INJECT_MSI");
                has_ended.store(true, Ordering::Relaxed);
            });
            let third = scope.spawn(|| {
                cpus::come_first();
                until_held();
                let limit = Duration::from_millis(limit_ms.into());
                let begun = Instant::now();
                thread::sleep(limit / 4);
                let is_late = cpus::run_preempt_rt() || begun.elapsed() > limit / 2;
                let is_shown = is_late && has_begun.load(Ordering::Relaxed);
                inject(0x43).expect("the third INJECT_MSI");
                is_shown
            });
            until_held();
            has_begun.store(true, Ordering::Relaxed);
            inject(0x42).expect("the second INJECT_MSI");
            third.join().expect("the third thread")
        });
        limit_ms = (limit_ms * 2).min(10_000);
        let calls = trace.calls(INJECT_MSI);
        let msis = calls.iter().map(trace::parameter::<acrn_msi_entry>);
        let mut vectors: Vec<_> = msis.map(|msi| msi.msi_data).collect();
        vectors.sort();
        assert_eq!(vectors, [0x41, 0x42, 0x43]);
        is_shown
    });
    fixture.destroy();
    Outcome::Passed
}
