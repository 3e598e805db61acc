// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! PID 1. The kernel command line determines its job. `testbed/README.md` lists the jobs.

mod check;
mod command_line;
mod demo;
mod disk;
mod filesystems;
mod guest;
mod kernel_log;
mod kmemleak;
mod lockdep;
mod modules;
mod reboot;

use std::{
    convert::Infallible, fs::OpenOptions, io, os::fd::AsFd, path::Path, process::Command, thread,
    time::Duration,
};

use command_line::{CommandLine, Job};
use guest::End;
use nix::sys::reboot::{RebootMode, reboot as reboot_kernel};

fn main() {
    let mounted = filesystems::mount_all();
    let command_line = CommandLine::of_kernel();
    if let Err(error) = mounted.and_then(|()| use_console(&command_line)) {
        eprintln!("testbed: {error}");
    }
    let outcome = match command_line.job() {
        Job::Check => check::run(&command_line),
        Job::Refuse => check::refuse(&command_line),
        Job::Reboot => {
            reboot::run(&command_line).and_then(|()| end(RebootMode::RB_AUTOBOOT).map(|_| ()))
        }
        Job::Demo => demo::run(&command_line),
        Job::Guest => match guest::run(&command_line) {
            Ok(End::PowerOff) => Ok(()),
            Ok(End::Reboot) => end(RebootMode::RB_AUTOBOOT).map(|_| ()),
            Err(error) => Err(error),
        },
        Job::Shell => Command::new("/bin/sh").status().map(|_| ()),
        Job::Unknown(job) => Err(io::Error::other(format!("no job '{job}'"))),
    };
    if let Err(error) = outcome {
        eprintln!("testbed: {error}");
    }
    let Err(error) = end(RebootMode::RB_POWER_OFF);
    eprintln!("testbed: power-off: {error}");
    loop {
        thread::park();
    }
}

/// Ends the machine's run. Returns only if that fails.
fn end(how: RebootMode) -> io::Result<Infallible> {
    // Lets the output in flight reach the serial ports.
    thread::sleep(Duration::from_millis(100));
    Ok(reboot_kernel(how)?)
}

/// Opens standard input and output. The initramfs has no /dev, so the kernel starts PID 1 without
/// them. They may differ from the console of the kernel's messages: `testbed.console=hvc0`.
fn use_console(command_line: &CommandLine) -> io::Result<()> {
    let name = command_line.get("console").unwrap_or("console");
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open(Path::new("/dev").join(name))?;
    nix::unistd::dup2_stdin(console.as_fd())?;
    nix::unistd::dup2_stdout(console.as_fd())?;
    nix::unistd::dup2_stderr(console.as_fd())?;
    Ok(())
}
