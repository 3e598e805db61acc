// SPDX-License-Identifier: GPL-2.0

//! What a test must not leave behind: pinned pages, uses of the module, User VMs.

use std::fs;

use crate::probe::Probe;

/// The state of driver and hypervisor before a test.
pub struct Snapshot {
    pins: Option<i64>,
    huge_pages: Option<i64>,
}

impl Snapshot {
    /// Looks now.
    pub fn take() -> Self {
        Self {
            pins: pinned_pages(),
            huge_pages: free_huge_pages(),
        }
    }

    /// What is there now that was not there before, in words. Cleans up what it can, so that the next test
    /// starts from nothing.
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        if let Ok(probe) = Probe::open() {
            probe.clear_faults();
            for vm in probe.vms() {
                leaks.push(format!(
                    "left behind: VM {} in state {}, {} bytes mapped",
                    vm.vmid, vm.state, vm.mapped_bytes
                ));
                probe.destroy(vm.vmid);
            }
        }
        if let (Some(before), Some(after)) = (self.pins, pinned_pages())
            && after != before
        {
            leaks.push(format!("left behind: {} pinned pages", after - before));
        }
        if let (Some(before), Some(after)) = (self.huge_pages, free_huge_pages())
            && after < before
        {
            leaks.push(format!("left behind: {} huge pages", before - after));
        }
        if let Some(users) = module_users()
            && users != 0
        {
            leaks.push(format!("left behind: {users} uses of the module"));
        }
        leaks
    }
}

/// Pages pinned at this moment by anybody in the system.
pub fn pinned_pages() -> Option<i64> {
    // Counters are kept for each CPU; this adds them up.
    let _ = fs::write("/proc/sys/vm/stat_refresh", "1");
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let acquired = field(&text, "nr_foll_pin_acquired")?;
    let released = field(&text, "nr_foll_pin_released")?;
    Some(acquired - released)
}

/// Huge pages of the default size that nobody uses.
pub fn free_huge_pages() -> Option<i64> {
    field(
        &fs::read_to_string("/proc/meminfo").ok()?,
        "HugePages_Free:",
    )
}

/// How often the driver's module is in use.
pub fn module_users() -> Option<i64> {
    fs::read_to_string("/sys/module/acrn/refcnt")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The number behind `name` in a table of `name number` lines.
fn field(text: &str, name: &str) -> Option<i64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next())?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_found() {
        let text = "nr_foll_pin_acquired 12\nnr_foll_pin_released 7\nHugePages_Free:       64\n";
        assert_eq!(field(text, "nr_foll_pin_released"), Some(7));
        assert_eq!(field(text, "HugePages_Free:"), Some(64));
        assert_eq!(field(text, "missing"), None);
    }
}
