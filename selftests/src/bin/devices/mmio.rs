// SPDX-License-Identifier: GPL-2.0

//! MMIO devices that a device model leaves in its VM: the driver must give them back to the Service
//! VM, because the hypervisor does not when it destroys the VM.

use acrn_selftests::{
    cleanup, cpus,
    device::Device,
    guest::create_raw,
    harness::Outcome,
    hypercall::{ASSIGN_MMIODEV, DEASSIGN_MMIODEV, DESTROY_VM, PAUSE_VM, RESET_VM},
    mapping_fixture::MappingFixture,
    need,
    probe::{Probe, fault},
    trace::{Trace, parameter},
};
use acrn_uapi::{acrn_mmiodev, ioctl::*};
use mini_acrn_channel::Fault;
use nix::errno::Errno;
use zerocopy::IntoBytes;

use crate::{command::*, ownership::mmio};

/// Most MMIO devices of a VM.
const LIMIT: u64 = 64;

/// A page of the hole for PCI devices.
fn page(number: u64) -> acrn_mmiodev {
    mmio(&number.to_le_bytes(), 0xfd00_0000 + number * 0x1000, 0x1000)
}

fn assign(device: &Device, number: u64) -> Result<(), Errno> {
    ASSIGN_MMIO.issue(device, page(number).as_bytes())
}

fn deassign(device: &Device, number: u64) -> Result<(), Errno> {
    DEASSIGN_MMIO.issue(device, page(number).as_bytes())
}

fn entries(probe: &Probe, vmid: u16) -> u16 {
    probe.vm(vmid).expect("the VM").devices
}

/// A device that is still assigned is given back before DESTROY_VM, by the command and at close. A
/// device that was deassigned is not given back again.
pub fn mmio_given_back() -> Outcome {
    for (pauses, destroys) in [(true, true), (true, false), (false, false)] {
        let fixture = need!(MappingFixture::new());
        assert_eq!(assign(&fixture.device, 1), Ok(()));
        assert_eq!(assign(&fixture.device, 2), Ok(()));
        assert_eq!(deassign(&fixture.device, 1), Ok(()));
        if pauses {
            fixture.device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
        }
        let (probe, device) = (Probe::open().expect("the probe"), fixture.device);
        let trace = Trace::start(&probe);
        if destroys {
            device.plain(ACRN_IOCTL_DESTROY_VM).expect("DESTROY_VM");
            assert_eq!(trace.ids(), [DEASSIGN_MMIODEV, DESTROY_VM]);
        } else {
            cleanup::unregister(&device);
            drop(device);
            assert_eq!(trace.ids(), [PAUSE_VM, DEASSIGN_MMIODEV, DESTROY_VM]);
        }
        let calls = trace.calls(DEASSIGN_MMIODEV);
        assert_eq!(calls[0].result, 0);
        let given_back = parameter::<acrn_mmiodev>(&calls[0]);
        assert_eq!(given_back.as_bytes(), page(2).as_bytes());
    }
    Outcome::Passed
}

/// If DESTROY_VM does nothing because the VM is not paused, the VM keeps its device, even if a
/// RESET_VM that failed has hidden its state from the driver.
pub fn mmio_of_vm_that_stays() -> Outcome {
    let fixture = need!(MappingFixture::new());
    let (device, probe, vmid) = (&fixture.device, &fixture.probe, fixture.vmid);
    assert_eq!(assign(device, 1), Ok(()));
    let trace = Trace::start(probe);
    let refused = device.plain(ACRN_IOCTL_DESTROY_VM);
    assert_eq!(refused, Err(Errno::EPERM));
    assert_eq!(trace.ids(), [DESTROY_VM]);
    assert_eq!(entries(probe, vmid), 1);

    device.plain(ACRN_IOCTL_PAUSE_VM).expect("PAUSE_VM");
    probe.push_fault(Fault {
        after: 1,
        vmid,
        ..fault(RESET_VM, -i64::from(libc::ETIMEDOUT))
    });
    let reset = device.plain(ACRN_IOCTL_RESET_VM);
    assert_eq!(reset, Err(Errno::ETIMEDOUT));
    let trace = Trace::start(probe);
    let refused = device.plain(ACRN_IOCTL_DESTROY_VM);
    assert_eq!(refused, Err(Errno::EPERM));
    let expected = [DEASSIGN_MMIODEV, DESTROY_VM, ASSIGN_MMIODEV];
    assert_eq!(trace.ids(), expected);
    assert_eq!(entries(probe, vmid), 1);
    let trace = Trace::start(probe);
    fixture.destroy();
    assert_eq!(trace.ids(), [PAUSE_VM, DEASSIGN_MMIODEV, DESTROY_VM]);
    Outcome::Passed
}

/// The device of an orphan is given back as soon as the hypervisor allows, and only once if
/// DESTROY_VM fails after that.
pub fn mmio_of_orphan() -> Outcome {
    let probe = need!(Probe::open());
    let masks = need!(cpus::pick_many(&[1, 1]));
    for (errno, first, second) in [
        (libc::EPERM, Errno::EINVAL as i32, 1),
        (libc::EIO, Errno::EINVAL as i32, 1),
        (libc::EIO, 0, 0),
    ] {
        let (orphan, _page, vmid) = create_raw(masks[0]);
        assert_eq!(assign(&orphan, 1), Ok(()));
        if first != 0 {
            DEASSIGN_MMIO.fail_next_of(&probe, vmid, Errno::from_raw(first));
        }
        probe.push_fault(fault(DESTROY_VM, -i64::from(errno)));
        cleanup::unregister(&orphan);
        let trace = Trace::start(&probe);
        drop(orphan);
        assert_eq!(trace.ids(), [PAUSE_VM, DEASSIGN_MMIODEV, DESTROY_VM]);
        assert_eq!(entries(&probe, vmid), u16::from(first != 0));
        let trace = Trace::start(&probe);
        let _other = create_raw(masks[1]);
        let destroyed = trace.calls(DESTROY_VM);
        assert!(destroyed.iter().map(|call| call.result).eq([0]));
        let calls = trace.calls(DEASSIGN_MMIODEV);
        assert_eq!(calls.len(), second, "error {errno}, then {first}");
        assert!(calls.iter().all(|call| call.result == 0));
    }
    Outcome::Passed
}

/// The number of MMIO devices of a VM is limited.
pub fn mmio_limit() -> Outcome {
    let fixture = need!(MappingFixture::new());
    for number in 1..=LIMIT {
        assert_eq!(assign(&fixture.device, number), Ok(()), "device {number}");
    }
    let trace = Trace::start(&fixture.probe);
    assert_eq!(assign(&fixture.device, LIMIT + 1), Err(Errno::ENOSPC));
    trace.assert_no_hypercalls();
    assert_eq!(deassign(&fixture.device, 7), Ok(()));
    assert_eq!(assign(&fixture.device, LIMIT + 1), Ok(()));
    assert_eq!(entries(&fixture.probe, fixture.vmid), LIMIT as u16);
    let trace = Trace::start(&fixture.probe);
    fixture.destroy();
    let calls = trace.calls(DEASSIGN_MMIODEV);
    assert_eq!(calls.len() as u64, LIMIT);
    assert!(calls.iter().all(|call| call.result == 0));
    Outcome::Passed
}
