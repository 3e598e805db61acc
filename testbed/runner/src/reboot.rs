// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Tests a reboot of the Service VM while User VMs exist.
//!
//! The driver must have destroyed them before the reboot, and must name those that it could not
//! destroy.

use std::{fs, io};

use testbed_watch::Warnings;

use crate::{
    cli::{Limits, Machine},
    ktap::{self, Totals},
    qemu::{self, Boot, Listener},
    show_faults,
};

/// The line of init after it has created the User VMs, or has begun to.
const BEGIN: &str = "testbed: the Service VM reboots with User VMs";
/// The number of VMs that the driver must destroy: one runs, one is paused, one is started again
/// meanwhile, one is being created.
const ENDED: usize = 4;
/// The number of VMs that remain: one that the driver cannot destroy, and one that it does not
/// know.
const STAYING: usize = 2;
/// The driver's log message for a VM that it cannot destroy.
const LEFT: &str = "not destroyed at shutdown";
/// mini-ACRN's log message for a created VM.
const CREATED: &str = " created";
/// mini-ACRN's log message for a destroyed VM. It destroys paused VMs only.
const DESTROYED: &str = " destroyed, ";

/// Kernel parameters. Warnings go to the console, as no program can read the log during the
/// shutdown.
const PARAMETERS: &str = "loglevel=5 testbed.job=reboot";

/// Runs the machine, and prints a line of KTAP.
pub fn run(machine: &Machine, limits: &Limits) -> io::Result<Totals> {
    let mut console = Console::default();
    let outcome = qemu::run(
        machine,
        Boot::MiniAcrn,
        limits,
        PARAMETERS,
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

/// The relevant lines of the Service VM's console.
#[derive(Default)]
struct Console {
    warnings: Warnings,
    began: bool,
    left: usize,
}

impl Listener for Console {
    fn report(&mut self, _line: &str) {}

    fn console(&mut self, line: &str) {
        self.warnings.line(line);
        self.began |= line.contains(BEGIN);
        self.left += usize::from(line.contains(LEFT));
    }
}

impl Console {
    /// Returns the problems of a run, found in its console and in mini-ACRN's log.
    fn judge(&self, log: &str) -> Vec<String> {
        let count = |word| log.lines().filter(|line| line.contains(word)).count();
        let (created, destroyed) = (count(CREATED), count(DESTROYED));
        let mut problems = self.warnings.lines.clone();
        if !self.began {
            problems.push("the User VMs were not created".to_owned());
        }
        if destroyed != ENDED || created != ENDED + STAYING {
            problems.push(format!(
                "{created} User VMs were made, not {}, and {destroyed} destroyed, not {ENDED}",
                ENDED + STAYING
            ));
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
        let created: String = (1..=6).map(|vm| format!("VM {vm} created\n")).collect();
        let destroyed = |vm| format!("VM {vm} destroyed, 0 table pages in use\n");
        let log = created + &[3, 4, 5, 6].map(destroyed).concat();
        assert_eq!(console.judge("").len(), 3);
        console.console("testbed: the Service VM reboots with User VMs");
        console.console("[ 1.0] acrn: VM 2: not destroyed at shutdown: EPERM");
        assert_eq!(console.judge(&log), [""; 0]);
        assert_eq!(console.judge("").len(), 1);
        assert_eq!(console.judge(&(log.clone() + "VM 7 created\n")).len(), 1);
        console.console("[ 1.1] WARNING: kernel/reboot.c:1 at f+0x1/0x2");
        console.console("[ 1.1] Call Trace:");
        assert_eq!(console.judge(&log).len(), 2);
    }
}
