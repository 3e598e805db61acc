// SPDX-License-Identifier: GPL-2.0

//! Tests in which threads of a device model race.
//!
//! The result of each command depends on their order. In any order, nothing breaks, and nothing is
//! left behind.

use std::thread;

use acrn_ioctls::RequestPage;
use acrn_selftests::{
    cpus,
    device::{APIC, Device},
    guest_memory::{GuestMemory, PAGE},
    harness::Outcome,
    mapping_fixture::{ram, whole},
    need,
    race::Race,
};
use acrn_uapi::{acrn_ioreq_notify, ioctl::*};
use nix::errno::Errno;

/// Repeats `command`.
///
/// It may fail because there is no VM, or because the hypervisor refuses. It must succeed at least
/// once.
fn repeat(race: &Race, name: &str, mut command: impl FnMut() -> Result<(), Errno>) {
    race.repeat(name, || match command() {
        Ok(()) => true,
        Err(Errno::EINVAL | Errno::ENODEV | Errno::EPERM | Errno::EEXIST) => false,
        Err(error) => panic!("{name}: {error}"),
    });
}

/// All commands race on one file whose VM is created and destroyed (R3).
pub fn everything_at_once() -> Outcome {
    let cpus = need!(cpus::pick(1));
    let device = &need!(Device::open());
    let page = &RequestPage::new().expect("a request page");
    let first = &GuestMemory::anonymous(64 * PAGE);
    let second = &GuestMemory::anonymous(16 * PAGE);
    let race = &Race::of(6);
    thread::scope(|scope| {
        scope.spawn(move || {
            repeat(race, "CREATE_VM", || device.create(page, cpus).map(drop));
        });
        scope.spawn(move || {
            repeat(race, "DESTROY_VM", || {
                device.plain(ACRN_IOCTL_PAUSE_VM)?;
                device.plain(ACRN_IOCTL_DESTROY_VM)
            });
        });
        scope.spawn(move || {
            repeat(race, "SET_MEMSEG", || {
                device.with(ACRN_IOCTL_SET_MEMSEG, &mut whole(first))
            });
        });
        scope.spawn(move || {
            let segment = ram(0, second, 0, second.len());
            repeat(race, "UNSET_MEMSEG", || {
                device.with(ACRN_IOCTL_SET_MEMSEG, &mut segment.clone())?;
                device.with(ACRN_IOCTL_UNSET_MEMSEG, &mut segment.clone())
            });
        });
        scope.spawn(move || {
            repeat(race, "clients", || {
                device.plain(ACRN_IOCTL_CREATE_IOREQ_CLIENT)?;
                // This fails with `EINVAL` because there is no request to complete. The next
                // commands do not depend on it.
                let _ = device.with(
                    ACRN_IOCTL_NOTIFY_REQUEST_FINISH,
                    &mut acrn_ioreq_notify::default(),
                );
                device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ)?;
                device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
            });
        });
        scope.spawn(move || {
            repeat(race, "interrupts", || {
                device.inject_msi(APIC, 0x31)?;
                device.set_irqline(4, 0)
            });
        });
    });
    Outcome::Passed
}
