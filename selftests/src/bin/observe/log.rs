// SPDX-License-Identifier: GPL-2.0

//! Tests that a program that makes many mistakes does not fill the kernel log.

use std::{thread, time::Duration};

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cleanup, cpus,
    device::{Argument, Device, creation},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    hypercall,
    kernel_log::{KernelLog, Line},
    mapping_fixture::{MappingFixture, whole},
    need,
    probe::{Probe, fault},
    status::Status,
    waiter::until,
};
use acrn_uapi::{acrn_msi_entry, acrn_ptdev_irq, ioctl::*};
use mini_acrn_channel::RaiseRequest;
use zerocopy::FromZeros;

/// The number of mistakes of each kind.
const MANY: u32 = 300;
/// The number of lines that the driver may write in succession. The kernel's default limit is 10
/// lines in 5 seconds, and two such periods may be adjacent.
const FEW: usize = 20;
/// More lines than [`FEW`] in less than this time are a flood. The kernel's clock measures this
/// time, so the duration of the mistakes does not matter. It is less than 5 seconds, because the
/// limit counts ticks.
const SHORT: Duration = Duration::from_secs(3);

/// Panics if the driver wrote too many lines in too short a time.
#[track_caller]
fn assert_few(lines: &[Line]) {
    for lines in lines.windows(FEW + 1) {
        let took = lines[FEW].time.saturating_sub(lines[0].time);
        assert!(took >= SHORT, "{} lines in {took:?}: {lines:?}", FEW + 1);
    }
}

/// Commands that fail on a VM do not fill the log.
pub fn log_of_failed_commands() -> Outcome {
    let mut log = need!(KernelLog::start());
    let fixture = need!(MappingFixture::new());
    let memory = GuestMemory::anonymous(PAGE);
    memory.unmap(0, PAGE);
    for _ in 0..MANY {
        let failures = [
            fixture.device.plain(ACRN_IOCTL_RESET_VM),
            fixture.device.plain(ACRN_IOCTL_DESTROY_VM),
            fixture.device.plain(ACRN_IOCTL_ATTACH_IOREQ_CLIENT),
            fixture
                .device
                .with(ACRN_IOCTL_INJECT_MSI, &mut acrn_msi_entry::default()),
            fixture
                .device
                .with(ACRN_IOCTL_SET_PTDEV_INTR, &mut acrn_ptdev_irq::default()),
            fixture
                .device
                .ioctl(ACRN_IOCTL_SET_IRQLINE, Argument::Number(1000)),
            fixture.set(whole(&memory)),
            fixture.device.plain(0xa2ff),
        ];
        for (index, failure) in failures.iter().enumerate() {
            assert!(failure.is_err(), "command {index}");
        }
    }
    fixture.destroy();
    assert_few(&log.stamped_lines());
    Outcome::Passed
}

/// CREATE_VM that fails does not fill the log. It fails because the hypervisor refuses, and because
/// there is no request page.
pub fn log_of_failed_creation() -> Outcome {
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
    assert_few(&log.stamped_lines());
    Outcome::Passed
}

/// Returns a request of vCPU 0 that reads a byte from port 0x510. The request is written to the
/// slot of vCPU 0 repeatedly.
fn request(vmid: u16) -> RaiseRequest {
    let mut request = RaiseRequest::new_zeroed();
    request.vmid = vmid;
    // The slot's bytes include its state: 0, PENDING.
    request.force = 1;
    request.slot[72..74].copy_from_slice(&0x510u16.to_le_bytes());
    request.slot[80] = 1;
    request
}

/// Requests that are not served do not fill the log. The log occasionally names their VM (A11).
pub fn log_of_requests_without_client() -> Outcome {
    let mut log = need!(KernelLog::start());
    let fixture = need!(MappingFixture::new());
    let vm = format!("VM {}:", fixture.vmid);
    let mut lines = Vec::new();
    let mut raised = 0;
    // Other tests may have used up the lines that the driver may write in 5 seconds.
    until("the log names the VM", || {
        assert_eq!(fixture.probe.raise(request(fixture.vmid)), 0);
        raised += 1;
        lines.extend(log.stamped_lines());
        raised >= MANY && lines.iter().any(|line| line.text.contains(&vm))
    });
    fixture.destroy();
    lines.extend(log.stamped_lines());
    assert_few(&lines);
    Outcome::Passed
}

/// The backlog thread, which writes the log, looks at requests without a handler after the upcall
/// has looked at them.
pub fn thread_looks_after_upcall() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let status = || Status::of_vm(fixture.vmid).ok_or("the driver has no debugfs files");
    need!(status());
    let time = |key| status().expect("status").number(key);
    let mut by_upcall = 0;
    // If the machine stops during an upcall, the VM exceeds its share for a while. The upcall then
    // does not look at its requests.
    until("the upcall looks at three requests", || {
        let (upcall, thread) = (time("upcall_ns"), time("thread_ns"));
        assert_eq!(fixture.probe.raise(request(fixture.vmid)), 0);
        until("the thread looks at the request", || {
            time("thread_ns") > thread
        });
        by_upcall += u32::from(time("upcall_ns") > upcall);
        thread::sleep(Duration::from_millis(20));
        by_upcall == 3
    });
    fixture.destroy();
    Outcome::Passed
}

/// VMs that the hypervisor does not destroy at once do not fill the log.
pub fn log_of_refused_ends() -> Outcome {
    let mut log = need!(KernelLog::start());
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    for _ in 0..MANY / 5 {
        let device = need!(Device::open());
        let page = RequestPage::new().expect("a request page");
        device.create(&page, cpus).expect("CREATE_VM");
        probe.push_fault(fault(hypercall::DESTROY_VM, -1));
        cleanup::unregister(&device);
        drop(device);
        // The next CREATE_VM destroys the orphan even if the command itself fails.
        let device = need!(Device::open());
        probe.push_fault(fault(hypercall::CREATE_VM, -1));
        assert!(device.create(&page, cpus).is_err());
    }
    assert_few(&log.stamped_lines());
    Outcome::Passed
}
