// SPDX-License-Identifier: GPL-2.0

//! Loads and unloads the driver's module.

use std::fs::{self, File};

use nix::{
    errno::Errno,
    kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module},
};

/// Returns the path of the loaded module in the test-bed. The error says why the test must be
/// skipped.
pub fn path() -> Result<String, String> {
    let parameters = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let driver = parameters
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("testbed.driver="));
    let path = format!("/modules/{}/acrn.ko", driver.unwrap_or("rust"));
    match fs::exists(&path) {
        Ok(true) => Ok(path),
        _ => Err(format!("no {path}: not the test-bed")),
    }
}

/// Locks the kernel down for physical addresses, as `lockdown=integrity` does, as long as this
/// value lives. A module of the test-bed does it.
pub struct Lockdown(());

impl Lockdown {
    /// Starts the lockdown. The error says why the test must be skipped.
    pub fn on() -> Result<Self, String> {
        let path = "/modules/acrn_lockdown.ko";
        let file =
            File::open(path).map_err(|error| format!("{path}: {error}: not the test-bed"))?;
        finit_module(file, c"", ModuleInitFlags::empty()).expect("insmod acrn_lockdown.ko");
        Ok(Self(()))
    }
}

impl Drop for Lockdown {
    fn drop(&mut self) {
        delete_module(c"acrn_lockdown", DeleteModuleFlags::O_NONBLOCK)
            .expect("rmmod acrn_lockdown");
    }
}

/// Unloads the driver.
pub fn unload() {
    try_unload().expect("rmmod acrn");
}

/// Unloads the driver. Fails with `EAGAIN` if it is in use.
pub fn try_unload() -> Result<(), Errno> {
    delete_module(c"acrn", DeleteModuleFlags::O_NONBLOCK)
}

/// Loads the driver from `path`.
pub fn load(path: &str) {
    let file = File::open(path).expect("the module's file");
    finit_module(file, c"", ModuleInitFlags::empty()).expect("insmod acrn.ko");
}
