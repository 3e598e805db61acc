// SPDX-License-Identifier: GPL-2.0

//! Runs acrn-vmm with a Linux User VM, and gives access to its console.

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
/// The start of the line that init of the User VM prints when it runs.
const UP_LINE: &str = "User VM: Linux ";
/// The start of the line that acrn-vmm prints when the driver refuses an ioeventfd.
const REFUSED_LINE: &str = "acrn-vmm: no doorbell";
/// Number of console lines in the message of a failed test.
const SHOWN_LINES: usize = 20;

/// A running device model. Dropping it kills the process.
pub struct Machine {
    vmm: Child,
    keyboard: ChildStdin,
    lines: Receiver<String>,
    console: Vec<String>,
    patience: Patience,
}

impl Machine {
    /// Starts acrn-vmm with `options` and Linux. `more` is appended to the kernel's command line.
    ///
    /// Fails with the reason for skipping the test.
    pub fn start(options: &[&str], more: &str, limit: Duration) -> Result<Self, String> {
        Self::start_with(options, &format!("{COMMAND_LINE} {more}"), limit)
    }

    /// Starts acrn-vmm with `options` and with Linux, whose command line is `line`.
    ///
    /// Fails with the reason for skipping the test.
    pub fn start_with(options: &[&str], line: &str, limit: Duration) -> Result<Self, String> {
        for file in [KERNEL, INITRAMFS] {
            if !Path::new(file).exists() {
                return Err(format!("no {file}"));
            }
        }
        let linux = ["--kernel", KERNEL, "--initramfs", INITRAMFS, "--cmdline"];
        Self::run(&[&linux[..], &[line.trim_end()], options].concat(), limit)
    }

    /// Starts acrn-vmm with `options` only.
    ///
    /// Fails with the reason for skipping the test.
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

    /// Waits until init of the User VM reports that it runs. Returns the line of the report.
    pub fn wait_until_up(&mut self) -> String {
        self.wait_for(UP_LINE)
    }

    /// Waits for a line that contains `text`, and returns the line.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.line() {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => self.fail(&format!("no line with '{text}': {error}")),
            }
        }
    }

    /// Types a line on the User VM's console.
    pub fn enter(&mut self, line: &str) {
        if let Err(error) = writeln!(self.keyboard, "{line}") {
            self.fail(&format!("cannot type '{line}': {error}"));
        }
    }

    /// Returns the number of files that the device model has open.
    pub fn open_files(&self) -> usize {
        match fs::read_dir(format!("/proc/{}/fd", self.vmm.id())) {
            Ok(files) => files.count(),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Returns the numbers of ioeventfds and irqfds that the driver reports for the VM.
    ///
    /// Returns `None` with upstream's driver, which reports no numbers.
    pub fn eventfds(&self) -> Option<(u64, u64)> {
        let process = format!("/proc/{}", self.vmm.id());
        let files =
            fs::read_dir(format!("{process}/fd")).expect("the open files of the device model");
        let is_device = |file: &DirEntry| {
            fs::read_link(file.path()).is_ok_and(|target| target == Path::new(DEVICE))
        };
        let Some(device) = files.flatten().find(is_device) else {
            self.fail("the device model does not have the device open");
        };
        let number = device
            .file_name()
            .into_string()
            .expect("a file descriptor in ASCII");
        let info = fs::read_to_string(format!("{process}/fdinfo/{number}")).expect("fdinfo");
        let status = Status::parse(&info);
        status
            .has("vmid")
            .then(|| (status.number("ioeventfds"), status.number("irqfds")))
    }

    /// Waits until the device model ends.
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

    /// Panics unless the device model ends successfully and the driver accepted all its eventfds.
    #[track_caller]
    pub fn assert_ends_well(&mut self) {
        let status = self.wait();
        if !status.success() {
            self.fail(&status.to_string());
        }
        // The guest works without an ioeventfd that the driver refuses, but more slowly.
        if self.console.iter().any(|line| line.contains(REFUSED_LINE)) {
            self.fail("the driver refused an ioeventfd");
        }
    }

    /// Sends a signal to the device model.
    pub fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.vmm.id()).expect("a valid process ID");
        kill(Pid::from_raw(process), signal).expect("kill");
    }

    fn line(&mut self) -> Result<String, RecvTimeoutError> {
        let line = self.patience.receive(&self.lines)?;
        self.console.push(line.clone());
        Ok(line)
    }

    fn fail(&self, why: &str) -> ! {
        let start = self.console.len().saturating_sub(SHOWN_LINES);
        let last = self.console[start..].join("\n  | ");
        panic!("{why}; last lines of the User VM:\n  | {last}");
    }
}

/// Sends each line of `output` to the channel, until `output` or the channel ends.
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
