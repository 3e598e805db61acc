// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The Service VM reboots while User VMs live. The driver must have destroyed them by then, and say of which it
//! could not.

use std::{fs, io};

use crate::{
    cli::{Limits, Machine},
    ktap::{self, Totals},
    qemu::{self, Boot, Listener},
    show_faults,
};

/// What init says when the User VMs are there: one runs, one is paused, one cannot be destroyed.
const BEGIN: &str = "testbed: the Service VM reboots with 3 User VMs";
/// What the driver says of one that it cannot destroy.
const LEFT: &str = "outlives the kernel";
/// What mini-ACRN says of one that was destroyed, which had to be paused for that.
const DESTROYED: &str = " destroyed, ";

/// Runs the machine, and prints a line of KTAP.
pub fn run(machine: &Machine, limits: &Limits) -> io::Result<Totals> {
    let mut console = Console::default();
    let outcome = qemu::run(
        machine,
        Boot::MiniAcrn,
        limits,
        "quiet testbed.job=reboot",
        false,
        &mut console,
    )?;
    let log = fs::read(&outcome.hypervisor_log).unwrap_or_default();
    let mut problems = console.judge(&String::from_utf8_lossy(&log));
    if !problems.is_empty() || !outcome.faults.is_empty() {
        show_faults(&outcome)?;
    }
    problems.extend(outcome.faults);
    let result = match problems.is_empty() {
        true => "ok",
        false => "not ok",
    };
    let text = format!("{result} reboot_with_user_vms");
    for problem in problems {
        println!("# {problem}");
    }
    println!("{text}");
    Ok(ktap::flat(&text))
}

/// What matters of the Service VM's console.
#[derive(Default)]
struct Console {
    began: bool,
    left: usize,
}

impl Listener for Console {
    fn report(&mut self, _line: &str) {}

    fn console(&mut self, line: &str) {
        self.began |= line.contains(BEGIN);
        self.left += usize::from(line.contains(LEFT));
    }
}

impl Console {
    /// What is wrong with a run, by its console and mini-ACRN's log.
    fn judge(&self, log: &str) -> Vec<String> {
        let destroyed = log.lines().filter(|line| line.contains(DESTROYED)).count();
        let mut problems = Vec::new();
        if !self.began {
            problems.push("the User VMs were not there".to_owned());
        }
        if destroyed != 2 {
            problems.push(format!("{destroyed} User VMs were destroyed, not 2"));
        }
        if self.left != 1 {
            let left = self.left;
            problems.push(format!("the driver names {left} User VMs as left, not 1"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_accounted_for() {
        let mut console = Console::default();
        let log = "VM 1 destroyed, 0 table pages in use\nVM 2 destroyed, 0 table pages in use\n";
        assert_eq!(console.judge("").len(), 3);
        console.console("testbed: the Service VM reboots with 3 User VMs");
        console.console("[ 1.0] acrn: VM 3: outlives the kernel: EPERM");
        assert_eq!(console.judge(log), [""; 0]);
        assert_eq!(console.judge("").len(), 1);
    }
}
