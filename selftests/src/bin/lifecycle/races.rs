// SPDX-License-Identifier: GPL-2.0

//! Threads of a device model that race. The result of each command depends on their order. In any
//! order, nothing breaks and nothing is left behind.

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

/// Repeats `command`. It may fail because there is no VM, or because the hypervisor refuses, but
/// must succeed at least once.
fn repeat(contest: &Race, name: &str, mut command: impl FnMut() -> Result<(), Errno>) {
    contest.repeat(name, || match command() {
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
                // There is no request to complete. The resulting EINVAL does not prevent the next
                // commands.
                let _ = device.with(
                    ACRN_IOCTL_NOTIFY_REQUEST_FINISH,
                    &mut acrn_ioreq_notify::default(),
                );
                device.plain(ACRN_IOCTL_CLEAR_VM_IOREQ)?;
                device.plain(ACRN_IOCTL_DESTROY_IOREQ_CLIENT)
            });
        });
        scope.spawn(move || {
            repeat(contest, "interrupts", || {
                device.inject_msi(APIC, 0x31)?;
                device.set_irqline(4, 0)
            });
        });
    });
    Outcome::Passed
}
