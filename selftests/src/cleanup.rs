// SPDX-License-Identifier: GPL-2.0

//! Pauses and destroys VMs before their file is closed, even if a test fails.
//!
//! A well-behaved device model does the same. A driver must cope with one that does not, which the
//! tests of closing check. Upstream's driver, however, keeps a freed VM in its list in that case,
//! and the results of all other tests would mean nothing. Tests that leave a VM to the driver say
//! so.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    panic,
    sync::Mutex,
};

use acrn_uapi::ioctl::{ACRN_IOCTL_DESTROY_VM, ACRN_IOCTL_PAUSE_VM};

use crate::probe::Probe;

/// Files of this process that have, or had, a VM.
static FILES: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

fn files() -> std::sync::MutexGuard<'static, Vec<RawFd>> {
    FILES.lock().expect("no panic with the list locked")
}

/// Registers a file, so that its VM is destroyed if a test fails.
pub fn register(file: &impl AsFd) {
    files().push(file.as_fd().as_raw_fd());
}

/// Leaves the VM of a file to the driver. Returns whether the file was registered.
pub fn unregister(file: &impl AsFd) -> bool {
    let mut files = files();
    let before = files.len();
    files.retain(|known| *known != file.as_fd().as_raw_fd());
    files.len() < before
}

/// Pauses and destroys the VM of a file that is about to be closed, unless the VM is left to the
/// driver.
pub fn destroy(file: &impl AsFd) {
    if unregister(file) {
        pause_and_destroy(file.as_fd());
    }
}

fn pause_and_destroy(file: BorrowedFd<'_>) {
    for request in [ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_DESTROY_VM] {
        // SAFETY: The requests take no argument.
        unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, 0) };
    }
}

/// Installs a panic hook that destroys all VMs of this process.
pub fn destroy_vms_on_panic() {
    let show = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        show(info);
        destroy_all();
    }));
}

/// Destroys all VMs of this process.
pub fn destroy_all() {
    let Ok(files) = FILES.try_lock() else { return };
    if let Ok(probe) = Probe::open() {
        // A held hypercall would block the commands that follow.
        probe.release();
        probe.take_none_at_once();
    }
    for file in files.iter() {
        // SAFETY: The file was open when it was added to the list, and it is removed before it is
        // closed.
        pause_and_destroy(unsafe { BorrowedFd::borrow_raw(*file) });
    }
}
