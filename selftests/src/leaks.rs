// SPDX-License-Identifier: GPL-2.0

//! Detects resources that a test leaves behind (pinned pages, objects of the driver, references to
//! the module, User VMs), and broken rules of ACRN.

use std::{fs, time::Duration};

use mini_acrn_channel::{TRACE_CAPACITY, kind};

use crate::{fault_injection::Settings, hypercall, objects::Objects, probe::Probe};

/// The state of the driver and the hypervisor before a test.
pub struct Snapshot {
    pins: Option<i64>,
    huge_pages: Option<i64>,
    /// Other device models may run at the same time.
    module_users: Option<i64>,
    /// Upstream's driver does not count its objects.
    objects: Option<Objects>,
    broken_rules: u64,
    failing: Settings,
}

impl Snapshot {
    /// Takes a snapshot of the current state.
    pub fn take() -> Self {
        Self {
            pins: pinned_pages(),
            huge_pages: free_huge_pages(),
            module_users: module_users(),
            objects: Objects::count().ok(),
            broken_rules: Probe::open().map_or(0, |probe| probe.list().broken_rules),
            failing: Settings::read(),
        }
    }

    /// Describes the resources that are in use now but were not before. Releases as many as
    /// possible, so that the next test starts with a clean state.
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        self.failing.restore();
        if let Ok(probe) = Probe::open() {
            probe.release();
            probe.hold_kicks(false);
            probe.take_none_at_once();
            probe.slow_after_ipis(Duration::ZERO);
            probe.clear_faults();
            leaks.extend(broken_rules(&probe, self.broken_rules));
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
        if let (Some(before), Some(after)) = (self.module_users, module_users())
            && after > before
        {
            let users = after - before;
            leaks.push(format!("left behind: {users} uses of the module"));
        }
        if let (Some(before), Ok(after)) = (&self.objects, Objects::count()) {
            let growth = before.growth(&after);
            leaks.extend(growth.iter().map(|grown| format!("left behind: {grown}")));
        }
        leaks
    }
}

/// Describes the rules that were broken unexpectedly since `before` such violations were counted,
/// and the expected violations that did not occur.
fn broken_rules(probe: &Probe, before: u64) -> Vec<String> {
    let list = probe.list();
    probe.forget_expected_rules();
    let count = list.broken_rules - before;
    let mut problems = Vec::new();
    if list.expected_rules != 0 {
        problems.push(format!(
            "{} announced violations of ACRN's rules did not occur",
            list.expected_rules
        ));
    }
    if count != 0 {
        problems.push(format!("hypercalls that would have crashed ACRN: {count}"));
        problems.extend(last_broken_rules(probe, count as usize));
    }
    problems
}

/// Describes the last `count` unexpected violations in the trace, as far as the trace reaches back.
fn last_broken_rules(probe: &Probe, count: usize) -> Vec<String> {
    let mut next = probe.trace(u64::MAX).map_or(0, |(header, _)| {
        header.next.saturating_sub(TRACE_CAPACITY as u64)
    });
    let mut rules = Vec::new();
    while let Some((_, records)) = probe.trace(next)
        && let Some(last) = records.last()
    {
        next = last.seq + 1;
        let broken = records
            .iter()
            .filter(|record| record.kind == kind::RULE_BROKEN && record.result == 0);
        rules.extend(broken.map(|record| {
            format!(
                "RULE BROKEN: VM {}, {}: {}",
                record.vmid,
                hypercall::name(record.id),
                String::from_utf8_lossy(&record.data[..record.data_len as usize])
            )
        }));
    }
    rules.split_off(rules.len().saturating_sub(count))
}

/// Returns the number of pages that are pinned in the whole system.
pub fn pinned_pages() -> Option<i64> {
    // The kernel counts for each CPU. Writing this file sums the counters up.
    let _ = fs::write("/proc/sys/vm/stat_refresh", "1");
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let acquired = field(&text, "nr_foll_pin_acquired")?;
    let released = field(&text, "nr_foll_pin_released")?;
    Some(acquired - released)
}

/// Returns the number of free huge pages of the default size.
pub fn free_huge_pages() -> Option<i64> {
    field(
        &fs::read_to_string("/proc/meminfo").ok()?,
        "HugePages_Free:",
    )
}

/// Returns the reference count of the driver's module.
pub fn module_users() -> Option<i64> {
    fs::read_to_string("/sys/module/acrn/refcnt")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Returns the number after `name` in a table of `name number` lines.
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
