// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Kernel modules: insmod, rmmod, and reference counts.

use std::{
    ffi::{CStr, CString},
    fs,
    fs::File,
    io,
};

use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};

/// Loads the module in a file.
pub fn insmod(path: &str) -> io::Result<()> {
    try_insmod(path, c"").map_err(|error| io::Error::other(format!("insmod {path}: {error}")))
}

/// Loads the module in a file with parameters. Fails with the kernel's own error.
pub fn try_insmod(path: &str, parameters: &CStr) -> io::Result<()> {
    let file = File::open(path)?;
    Ok(finit_module(file, parameters, ModuleInitFlags::empty())?)
}

/// Unloads a module. Fails if it is in use.
pub fn rmmod(name: &str) -> io::Result<()> {
    let c_name = CString::new(name)?;
    delete_module(&c_name, DeleteModuleFlags::O_NONBLOCK)
        .map_err(|error| io::Error::other(format!("rmmod {name}: {error}")))
}

/// Returns the reference count of a loaded module.
pub fn use_count(name: &str) -> io::Result<u32> {
    fs::read_to_string(format!("/sys/module/{name}/refcnt"))?
        .trim()
        .parse()
        .map_err(io::Error::other)
}
