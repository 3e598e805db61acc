// SPDX-License-Identifier: GPL-2.0

//! Threads of the kernel, by name.

use std::fs;

use crate::cpus;

/// Returns the ids of the threads with the name `name`.
pub fn ids(name: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| comm.trim() == name)
    })
    .collect()
}

/// Keeps threads on one CPU of the Service VM until this is dropped.
pub struct KeptOn(Vec<i32>);

impl KeptOn {
    /// Keeps the threads with the name `name`, if there are any, on the CPU `cpu`.
    pub fn cpu(cpu: usize, name: &str) -> Self {
        let ids = ids(name);
        for id in &ids {
            cpus::keep_on(*id, &[cpu]).expect("the CPU");
        }
        Self(ids)
    }
}

impl Drop for KeptOn {
    fn drop(&mut self) {
        for id in &self.0 {
            cpus::keep_on(*id, &[0, 1]).expect("all CPUs");
        }
    }
}
