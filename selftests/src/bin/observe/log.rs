// SPDX-License-Identifier: GPL-2.0

//! The kernel's log: who makes many mistakes does not fill it.

use std::{thread, time::Duration};

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    area::{Area, PAGE},
    bench::{Bench, whole},
    cpus,
    device::{Argument, Device, creation},
    harness::Outcome,
    hypercall,
    kernel_log::KernelLog,
    manners, need,
    probe::{Probe, fault},
};
use acrn_uapi::{acrn_msi_entry, acrn_ptdev_irq, ioctl::*};
use mini_acrn_channel::RaiseRequest;
use zerocopy::FromZeros;

/// Mistakes of each kind.
const MANY: u32 = 300;
/// Lines that the driver may write about them.
const FEW: usize = 20;

/// What the driver wrote; panics if that are many lines.
fn assert_few(log: &mut KernelLog) -> Vec<String> {
    let lines = log.lines();
    let count = lines.len();
    assert!(count <= FEW, "{count} lines, the last: {:?}", lines.last());
    lines
}

/// Commands that fail on a VM.
pub fn failed_commands() -> Outcome {
    let mut log = need!(KernelLog::start());
    let bench = need!(Bench::new());
    let area = Area::anonymous(PAGE);
    area.unmap(0, PAGE);
    for _ in 0..MANY {
        let failures = [
            bench.device.plain(ACRN_IOCTL_RESET_VM),
            bench.device.plain(ACRN_IOCTL_DESTROY_VM),
            bench.device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT),
            bench
                .device
                .with(ACRN_IOCTL_INJECT_MSI, &mut acrn_msi_entry::default()),
            bench
                .device
                .with(ACRN_IOCTL_SET_PTDEV_INTR, &mut acrn_ptdev_irq::default()),
            bench
                .device
                .ioctl(ACRN_IOCTL_SET_IRQLINE, Argument::Number(1000)),
            bench.set(whole(&area)),
            bench.device.plain(0xa2ff),
        ];
        for (index, failure) in failures.iter().enumerate() {
            assert!(failure.is_err(), "command {index}");
        }
    }
    bench.destroy();
    assert_few(&mut log);
    Outcome::Passed
}

/// CREATE_VM that fails: by the hypervisor's word, and for want of a request page.
pub fn failed_creation() -> Outcome {
    let mut log = need!(KernelLog::start());
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let device = need!(Device::open());
    let page = RequestPage::new().expect("a request page");
    let mut refuse = fault(hypercall::CREATE_VM, -1);
    refuse.count = MANY;
    probe.push_fault(refuse);
    for _ in 0..MANY {
        assert!(device.create(&page, cpus).is_err());
    }
    for _ in 0..MANY {
        let mut argument = creation(&page, cpus);
        argument.ioreq_buf = 0;
        assert!(device.with(ACRN_IOCTL_CREATE_VM, &mut argument).is_err());
    }
    assert_few(&mut log);
    Outcome::Passed
}

/// A read of a byte from port 0x510 by vCPU 0, put into its slot again and again.
fn request(vmid: u16) -> RaiseRequest {
    let mut request = RaiseRequest::new_zeroed();
    request.vmid = vmid;
    // In the state that the slot says: 0, PENDING.
    request.force = 1;
    request.slot[72..74].copy_from_slice(&0x510u16.to_le_bytes());
    request.slot[80] = 1;
    request
}

/// Requests that nobody serves: the log says whose they are, now and then (A11).
pub fn requests_without_client() -> Outcome {
    let mut log = need!(KernelLog::start());
    let bench = need!(Bench::new());
    for _ in 0..MANY {
        assert_eq!(bench.probe.raise(request(bench.vmid)), 0);
        thread::sleep(Duration::from_millis(1));
    }
    bench.destroy();
    let lines = assert_few(&mut log);
    let vm = format!("VM {}:", bench.vmid);
    assert!(lines.iter().any(|line| line.contains(&vm)), "{lines:?}");
    Outcome::Passed
}

/// VMs that the hypervisor does not let go of at once.
pub fn refused_ends() -> Outcome {
    let mut log = need!(KernelLog::start());
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    for _ in 0..MANY / 5 {
        let device = need!(Device::open());
        let page = RequestPage::new().expect("a request page");
        device.create(&page, cpus).expect("CREATE_VM");
        probe.push_fault(fault(hypercall::DESTROY_VM, -1));
        manners::forget(&device);
        drop(device);
        // The next CREATE_VM, even one that fails, ends what was left.
        let device = need!(Device::open());
        probe.push_fault(fault(hypercall::CREATE_VM, -1));
        assert!(device.create(&page, cpus).is_err());
    }
    assert_few(&mut log);
    Outcome::Passed
}
