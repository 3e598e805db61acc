// SPDX-License-Identifier: GPL-2.0

//! Threads of a device model that do not agree. What each command returns depends on who was first; that
//! nothing is left and nothing breaks does not.

use std::thread;

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus,
    device::{Argument, Device},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{ram, whole},
    need,
    race::Race,
};
use acrn_uapi::{acrn_ioreq_notify, acrn_msi_entry, ioctl::*};
use nix::errno::Errno;

/// Runs `command` over and over; it may fail for want of a VM, or as the hypervisor sees fit, but not always.
fn repeat(contest: &Race, name: &str, mut command: impl FnMut() -> Result<(), Errno>) {
    contest.repeat(name, || match command() {
        Ok(()) => true,
        Err(Errno::EINVAL | Errno::ENODEV | Errno::EPERM | Errno::EEXIST) => false,
        Err(error) => panic!("{name}: {error}"),
    });
}

/// Everything at once on one file whose VM comes and goes (R3).
pub fn everything_at_once() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let device = &need!(Device::open());
    let page = &RequestPage::new().expect("a request page");
    let first = &GuestMemory::anonymous(64 * PAGE);
    let second = &GuestMemory::anonymous(16 * PAGE);
    let contest = &Race::of(6);
    thread::scope(|scope| {
        scope.spawn(move || {
            repeat(contest, "CREATE_VM", || device.create(page, cpus).map(drop));
        });
        scope.spawn(move || {
            repeat(contest, "DESTROY_VM", || {
                device.plain(ACRN_IOCTL_PAUSE_VM)?;
                device.plain(ACRN_IOCTL_DESTROY_VM)
            });
        });
        scope.spawn(move || {
            repeat(contest, "SET_MEMSEG", || {
                device.with(ACRN_IOCTL_SET_MEMSEG, &mut whole(first))
            });
        });
        scope.spawn(move || {
            let segment = ram(0, second, 0, second.len());
            repeat(contest, "UNSET_MEMSEG", || {
                device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment.clone())?;
                device.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment.clone())
            });
        });
        scope.spawn(move || {
            repeat(contest, "clients", || {
                device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)?;
                // There is nothing to finish: EINVAL is no reason to leave the client as it is.
                let _ = device.with(
                    ACRN_IOCTL_NOTIFY_REQUEST_FINISH,
                    &mut acrn_ioreq_notify::default(),
                );
                device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ)?;
                device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
            });
        });
        scope.spawn(move || {
            let mut msi = acrn_msi_entry {
                msi_addr: 0xfee0_0000,
                msi_data: 0x31,
            };
            repeat(contest, "interrupts", || {
                device.with(ACRN_IOCTL_INJECT_MSI, &mut msi)?;
                device.ioctl(ACRN_IOCTL_SET_IRQLINE, Argument::Number(4))
            });
        });
    });
    Outcome::Passed
}
