// SPDX-License-Identifier: GPL-2.0

//! acrn-vmm with a Linux User VM, and its console.

use std::{
    fs::{self, DirEntry},
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use acrn_selftests::{harness::patience, status::Status};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed_watch::Patience;

const VMM: &str = "/bin/acrn-vmm";
const DEVICE: &str = "/dev/acrn_hsm";
const KERNEL: &str = "/guest/bzImage";
const INITRAMFS: &str = "/guest/initramfs.cpio";
const COMMAND_LINE: &str = "console=ttyS0 quiet testbed.job=guest";
/// The line that init of the User VM prints.
const WORD: &str = "User VM: Linux ";
/// The line that acrn-vmm prints when the driver refuses an ioeventfd.
const NO_DOORBELL: &str = "acrn-vmm: no doorbell";
/// Number of lines of the console that a failed test shows.
const SHOWN: usize = 20;

/// A running device model, which is killed on drop.
pub struct Machine {
    vmm: Child,
    keyboard: ChildStdin,
    lines: Receiver<String>,
    console: Vec<String>,
    patience: Patience,
}

impl Machine {
    /// Starts acrn-vmm with `options` and Linux. `more` is appended to the kernel's command line.
    /// The error says why the test must be skipped.
    pub fn start(options: &[&str], more: &str, limit: Duration) -> Result<Self, String> {
        Self::start_with(options, &format!("{COMMAND_LINE} {more}"), limit)
    }

    /// Starts acrn-vmm with `options` and Linux with this command line. The error says why the test
    /// must be skipped.
    pub fn start_with(options: &[&str], line: &str, limit: Duration) -> Result<Self, String> {
        for file in [KERNEL, INITRAMFS] {
            if !Path::new(file).exists() {
                return Err(format!("no {file}"));
            }
        }
        let linux = ["--kernel", KERNEL, "--initramfs", INITRAMFS, "--cmdline"];
        Self::run(&[&linux[..], &[line.trim_end()], options].concat(), limit)
    }

    /// Starts acrn-vmm with `options` only. The error says why the test must be skipped.
    pub fn run(options: &[&str], limit: Duration) -> Result<Self, String> {
        for file in [VMM, DEVICE] {
            if !Path::new(file).exists() {
                return Err(format!("no {file}"));
            }
        }
        let mut vmm = Command::new(VMM)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{VMM}: {error}"))?;
        let keyboard = vmm.stdin.take().ok_or("no pipe")?;
        let (sender, lines) = mpsc::channel();
        forward(vmm.stdout.take().ok_or("no pipe")?, sender.clone());
        forward(vmm.stderr.take().ok_or("no pipe")?, sender);
        Ok(Self {
            vmm,
            keyboard,
            lines,
            console: Vec::new(),
            patience: patience(limit),
        })
    }

    /// Waits for the line in which init of the User VM reports that it runs, and returns it.
    pub fn wait_until_up(&mut self) -> String {
        self.wait_for(WORD)
    }

    /// Waits for a line that contains `word`, and returns it.
    pub fn wait_for(&mut self, word: &str) -> String {
        loop {
            match self.line() {
                Ok(line) if line.contains(word) => return line,
                Ok(_) => {}
                Err(error) => self.fail(&format!("no '{word}': {error}")),
            }
        }
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) {
        if let Err(error) = writeln!(self.keyboard, "{line}") {
            self.fail(&format!("typing '{line}': {error}"));
        }
    }

    /// Returns the number of open files of the device model.
    pub fn open_files(&self) -> usize {
        match fs::read_dir(format!("/proc/{}/fd", self.vmm.id())) {
            Ok(files) => files.count(),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Returns the numbers of ioeventfds and irqfds that the driver reports for the VM. Upstream's
    /// driver reports none.
    pub fn eventfds(&self) -> Option<(u64, u64)> {
        let process = format!("/proc/{}", self.vmm.id());
        let files = fs::read_dir(format!("{process}/fd")).expect("the device model's files");
        let is_device = |file: &DirEntry| {
            fs::read_link(file.path()).is_ok_and(|target| target == Path::new(DEVICE))
        };
        let Some(device) = files.flatten().find(is_device) else {
            self.fail("the device model does not have the device open");
        };
        let number = device.file_name().into_string().expect("a number");
        let info = fs::read_to_string(format!("{process}/fdinfo/{number}")).expect("fdinfo");
        let status = Status::parse(&info);
        status
            .has("vmid")
            .then(|| (status.number("ioeventfds"), status.number("irqfds")))
    }

    /// Waits for the end of the device model.
    pub fn wait(&mut self) -> ExitStatus {
        // The device model keeps its standard output open until it ends.
        while self.line() != Err(RecvTimeoutError::Disconnected) {
            if self.patience.is_over() {
                self.fail("the device model does not end");
            }
        }
        match self.vmm.wait() {
            Ok(status) => status,
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Panics unless the device model ends successfully, and got all the eventfds that it
    /// requested.
    #[track_caller]
    pub fn assert_ends_well(&mut self) {
        let status = self.wait();
        if !status.success() {
            self.fail(&status.to_string());
        }
        // The guest works without its eventfds, but more slowly.
        if self.console.iter().any(|line| line.contains(NO_DOORBELL)) {
            self.fail("an ioeventfd was refused");
        }
    }

    /// Sends a signal to the device model.
    pub fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.vmm.id()).expect("a process id");
        kill(Pid::from_raw(process), signal).expect("kill");
    }

    fn line(&mut self) -> Result<String, RecvTimeoutError> {
        let line = self.patience.receive(&self.lines)?;
        self.console.push(line.clone());
        Ok(line)
    }

    fn fail(&self, why: &str) -> ! {
        let start = self.console.len().saturating_sub(SHOWN);
        let last = self.console[start..].join("\n  | ");
        panic!("{why}; last lines of the User VM:\n  | {last}");
    }
}

/// Sends each line to the channel, until the end.
fn forward(output: impl Read + Send + 'static, sender: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.vmm.kill();
        let _ = self.vmm.wait();
    }
}
