// SPDX-License-Identifier: GPL-2.0

//! VMs are paused and destroyed before their file is closed, also when a test fails.
//!
//! That is what a device model with manners does. A driver must cope without, which is what the tests of
//! closing are for; but upstream's keeps a freed VM in its list then, and what comes of all other tests would
//! mean nothing. Tests that leave a VM to the driver say so.

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

/// From now on the file's VM is ended if a test fails.
pub fn register(file: &impl AsFd) {
    files().push(file.as_fd().as_raw_fd());
}

/// Leaves the VM of a file to the driver. Whether it was known.
pub fn unregister(file: &impl AsFd) -> bool {
    let mut files = files();
    let before = files.len();
    files.retain(|known| *known != file.as_fd().as_raw_fd());
    files.len() < before
}

/// Pauses and destroys the VM of a file that is about to be closed, unless it was to be left to the driver.
pub fn destroy(file: &impl AsFd) {
    if unregister(file) {
        pause_and_destroy(file.as_fd());
    }
}

fn pause_and_destroy(file: BorrowedFd<'_>) {
    for request in [ACRN_IOCTL_PAUSE_VM, ACRN_IOCTL_DESTROY_VM] {
        // SAFETY: the requests take no argument.
        unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, 0) };
    }
}

/// Ends all VMs of this process if it panics.
pub fn destroy_vms_on_panic() {
    let show = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        show(info);
        destroy_all();
    }));
}

/// Ends all VMs of this process.
pub fn destroy_all() {
    let Ok(files) = FILES.try_lock() else { return };
    if let Ok(probe) = Probe::open() {
        // A command that is held there would hold up what follows.
        probe.release();
        probe.take_none_at_once();
    }
    for file in files.iter() {
        // SAFETY: the file was open when it got on the list, and is taken off before it is closed.
        pause_and_destroy(unsafe { BorrowedFd::borrow_raw(*file) });
    }
}
