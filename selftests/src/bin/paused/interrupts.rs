// SPDX-License-Identifier: GPL-2.0

//! Tests of interrupts for a paused VM. The driver checks them but does not send them, because they
//! would wake a halted vCPU. RESET_VM would discard them in any case.

use acrn_selftests::{
    cpus,
    device::{APIC, Argument, Device},
    eventfd::Eventfd,
    harness::Outcome,
    hypercall::{INJECT_MSI, SET_IRQLINE},
    interrupt_guest::{InterruptGuest, PIN, Rest, VECTORS},
    mapping_fixture::MappingFixture,
    need,
    probe::Probe,
    trace::Trace,
};
use acrn_uapi::ioctl::*;
use nix::errno::Errno;

const RISING_PULSE: u64 = 2;
/// The number of GSIs of a User VM on ACRN.
const GSIS: u32 = 48;

fn inject(device: &Device, msi_addr: u64) -> Result<(), Errno> {
    device.inject_msi(msi_addr, VECTORS[0].into())
}

/// Returns the number of hypercalls that send interrupts.
fn sent(trace: &Trace<'_>) -> usize {
    trace.calls(INJECT_MSI).len() + trace.calls(SET_IRQLINE).len()
}

/// INJECT_MSI succeeds for an address of a local APIC. For other addresses it fails with `EPERM`,
/// as the hypervisor does.
pub fn inject_msi() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let good = [APIC, APIC | 0xf_fffc, APIC | 1 << 12];
    let bad = [0, 0xfed0_0000, 0xfef0_0000, APIC << 32, 0x1000];
    // The results are the same whether the VM is paused or not.
    for paused in [false, true] {
        if paused {
            fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        }
        let trace = Trace::start(&fixture.probe);
        for address in good {
            assert_eq!(inject(&fixture.device, address), Ok(()), "{address:#x}");
        }
        for address in bad {
            let refused = inject(&fixture.device, address);
            assert_eq!(refused, Err(Errno::EPERM), "{address:#x}");
        }
        let null = fixture.device.ioctl(ACRN_IOCTL_INJECT_MSI, Argument::NULL);
        assert_eq!(null, Err(Errno::EFAULT));
        let expected = match paused {
            true => 0,
            false => good.len() + bad.len(),
        };
        assert_eq!(sent(&trace), expected, "paused: {paused}");
    }
    fixture.device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
    let trace = Trace::start(&fixture.probe);
    assert_eq!(inject(&fixture.device, APIC), Ok(()));
    assert_eq!(sent(&trace), 1, "after RESET_VM");
    fixture.destroy();
    Outcome::Passed
}

/// SET_IRQLINE succeeds for each operation on an existing line, and fails with `EPERM` for other
/// lines.
pub fn set_irqline() -> Outcome {
    let fixture = need!(MappingFixture::new());
    fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&fixture.probe);
    for operation in 0..=3 {
        for gsi in [0, 23, GSIS - 1] {
            let set = fixture.device.set_irqline(gsi, operation);
            assert_eq!(set, Ok(()), "GSI {gsi}, operation {operation}");
        }
        for gsi in [GSIS, 255, 1 << 31, u32::MAX] {
            let refused = fixture.device.set_irqline(gsi, operation);
            assert_eq!(
                refused,
                Err(Errno::EPERM),
                "GSI {gsi}, operation {operation}"
            );
        }
    }
    assert_eq!(sent(&trace), 0);
    fixture.device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
    let trace = Trace::start(&fixture.probe);
    assert_eq!(fixture.device.set_irqline(5, RISING_PULSE), Ok(()));
    assert_eq!(sent(&trace), 1, "after RESET_VM");
    fixture.destroy();
    Outcome::Passed
}

/// While the VM is paused, an irqfd takes its event, so that no writer finds the counter full, and
/// sends no interrupt. The same applies to an irqfd that is assigned during the pause to an eventfd
/// that has an event.
pub fn irqfd() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let assign = |event: &Eventfd| {
        let assigned = fixture.device.irqfd(event, 0, APIC, VECTORS[0].into());
        assert_eq!(assigned, Ok(()), "IRQFD");
    };
    let (before, late) = (Eventfd::new(), Eventfd::new());
    assign(&before);
    fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    let trace = Trace::start(&fixture.probe);
    for _ in 0..3 {
        before.signal();
        assert_eq!(before.take(), 0, "events that the driver has not taken");
    }
    late.signal();
    assign(&late);
    assert_eq!(late.take(), 0, "events that the driver has not taken");
    assert_eq!(sent(&trace), 0);
    fixture.device.plain(ACRN_IOCTL_RESET_VM).expect("RESET_VM");
    // The driver has discarded the interrupts from the time of the pause.
    assert_eq!(sent(&trace), 0, "at RESET_VM");
    before.signal();
    late.signal();
    assert_eq!(sent(&trace), 2, "after RESET_VM");
    fixture.destroy();
    Outcome::Passed
}

/// Interrupts do not wake a halted guest while it is paused. They wake it after a reset.
pub fn halted_guest() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let probe = Probe::open().ok();
    for reset in [false, true] {
        let guest = InterruptGuest::start(cpus, Rest::Halt);
        let device = Device::sharing(guest.vm());
        let event = Eventfd::new();
        guest
            .vm()
            .assign_irqfd(&event, guest.msi(), VECTORS[0].into())
            .expect("IRQFD");
        event.signal();
        guest.wait(VECTORS[0], 1);
        guest.vm().pause().expect("PAUSE_VM");
        let trace = probe.as_ref().map(Trace::start);
        for _ in 0..3 {
            event.signal();
            assert_eq!(inject(&device, guest.msi()), Ok(()));
            assert_eq!(device.set_irqline(PIN.0, RISING_PULSE), Ok(()));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        guest.assert_count(VECTORS[0], 1);
        guest.assert_count(PIN.1, 0);
        if let Some(trace) = &trace {
            assert_eq!(sent(trace), 0);
        }
        if reset {
            guest.start_again();
            event.signal();
            guest.wait(VECTORS[0], 2);
        }
    }
    Outcome::Passed
}
