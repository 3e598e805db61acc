// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Runs QEMU and watches it.

use std::{
    collections::VecDeque,
    fs, io,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use testbed_watch::{LOOK, Patience, is_warning};

use crate::{
    cli::{Clock, Driver, Limits, Machine},
    monitor,
};

/// The texts on the console of a machine that cannot continue.
const FATAL: [&str; 4] = ["mini-ACRN: PANIC", "Kernel panic", "kernel BUG", "Oops:"];
/// The text in mini-ACRN's log where a rule of ACRN was broken, unless a test announced it.
const BROKEN_RULE: &str = "RULE BROKEN: ";
/// The number of CPUs that the Service VM's kernel starts. The other CPUs are for User VMs.
const SERVICE_CPUS: &str = " maxcpus=2";
/// The number of lines of the console that are shown of a run that hung.
const LAST_LINES: usize = 40;
/// The time that a run has for more output after a fatal line.
const AFTER_FATAL: Duration = Duration::from_secs(5);

/// The system that the machine boots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// mini-ACRN, with Linux as its Service VM.
    MiniAcrn,
    /// Linux without a hypervisor.
    Linux,
}

/// The outcome of a run.
pub struct Outcome {
    /// The faults, one a line; empty after a successful run.
    pub faults: Vec<String>,
    /// The last lines of the Service VM's console.
    pub last_lines: Vec<String>,
    /// mini-ACRN's log.
    pub hypervisor_log: PathBuf,
}

impl Outcome {
    /// Returns the first fault without varying numbers, and the kernel function in which it
    /// occurred.
    pub fn crash(&self) -> Option<String> {
        let first = self
            .faults
            .iter()
            .find(|fault| !fault.contains("WARNING:"))?;
        let first = first.strip_prefix("console: ").unwrap_or(first);
        let begin = first.find("] ").map_or(0, |at| at + 2);
        let mut crash = without_numbers(&first[begin..]);
        let place = self.last_lines.iter().find_map(|line| {
            let (_, place) = line.split_once("RIP: 0010:")?;
            place.split(['+', ' ']).next()
        });
        if let Some(place) = place {
            crash += &format!(" in {place}");
        }
        Some(crash)
    }
}

/// Replaces long numbers, and those of processes and CPUs, by `...`.
fn without_numbers(text: &str) -> String {
    let mut after = "";
    let words = text.split(' ').map(|word| {
        let bare = word
            .trim_end_matches([',', ':', ')', ']'])
            .trim_start_matches(['(', '[']);
        let digits = bare.trim_start_matches("0x");
        let number = digits.len() >= 8 && digits.chars().all(|c| c.is_ascii_hexdigit());
        let counted = matches!(after, "CPU#" | "CPU:" | "PID:");
        after = word;
        if number || counted || bare.starts_with("CPU#") {
            "..."
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The source of output.
enum Event {
    Console(Vec<u8>),
    Report(String),
    Closed,
}

/// Receives the output of the machine.
pub trait Listener {
    /// A line of the second serial port.
    fn report(&mut self, line: &str);
    /// A line of the Service VM's console.
    fn console(&mut self, line: &str);
    /// Returns whether the listener needs no more output, so that the machine may be ended.
    fn has_enough(&self) -> bool {
        false
    }
}

/// Runs the machine with the kernel parameters `parameters` until it powers off, hangs or panics.
///
/// If `show` is set, the Service VM's console is copied to standard output.
pub fn run(
    machine: &Machine,
    boot: Boot,
    limits: &Limits,
    parameters: &str,
    show: bool,
    listener: &mut dyn Listener,
) -> io::Result<Outcome> {
    fs::create_dir_all(&machine.work)?;
    let initramfs = machine.work.join("initramfs.cpio");
    fs::write(&initramfs, crate::initramfs::build(machine)?)?;
    let socket = machine.work.join("report.socket");
    let _ = fs::remove_file(&socket);
    let report = UnixListener::bind(&socket)?;
    let hypervisor_log = machine.work.join("mini-acrn.log");
    // An old log must not be mistaken for that of this run.
    let _ = fs::remove_file(&hypervisor_log);
    let console_log = fs::File::create(machine.work.join("console.log"))?;

    let mut qemu = command(
        machine,
        boot,
        parameters,
        &initramfs,
        &socket,
        &hypervisor_log,
    )
    .stdout(Stdio::piped())
    .spawn()
    .map_err(|error| io::Error::other(format!("{}: {error}", machine.qemu)))?;
    let (sender, events) = mpsc::channel();
    if let Some(console) = qemu.stdout.take() {
        let sender = sender.clone();
        thread::spawn(move || read_console(console, &sender));
    }
    thread::spawn(move || {
        if let Ok((stream, _)) = report.accept() {
            read_report(stream, &sender);
        }
    });

    let mut watch = Watch {
        show,
        console_log,
        line: Vec::new(),
        last_lines: VecDeque::new(),
        faults: Vec::new(),
    };
    // The clocks of the machine stop while the host does not run it, and so does this time limit.
    let mut whole = Patience::new(limits.timeout);
    let mut silence = Patience::new(limits.silence);
    let mut is_dying = false;
    let mut has_reported = false;
    let killed = loop {
        match events.recv_timeout(LOOK) {
            Ok(Event::Console(bytes)) => {
                // A kernel in trouble may print without end.
                if !has_reported {
                    silence = Patience::new(limits.silence);
                }
                if watch.console(&bytes, listener)? && !is_dying {
                    is_dying = true;
                    whole = Patience::new(AFTER_FATAL);
                }
            }
            Ok(Event::Report(line)) => {
                silence = Patience::new(limits.silence);
                has_reported = true;
                listener.report(&line);
                if listener.has_enough() {
                    qemu.kill()?;
                    break None;
                }
            }
            Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if whole.is_over() {
            break (!is_dying).then_some(("not done after", limits.timeout));
        }
        if silence.is_over() {
            break Some(("silent for", limits.silence));
        }
    };
    if let Some((what, limit)) = killed {
        let fault = format!("{what} {} s, killed", limit.as_secs());
        watch.faults.push(fault);
        let pointers = monitor::instruction_pointers(&machine.work);
        watch.last_lines.extend(pointers);
    }
    end(&mut qemu, &mut watch.faults)?;
    // Upstream's driver breaks rules as well. Its failed tests show that.
    if machine.driver == Driver::Rust {
        match fs::read(&hypervisor_log) {
            Ok(log) => {
                let rules = broken_rules(&String::from_utf8_lossy(&log));
                watch.faults.extend(rules);
            }
            Err(error) => watch.faults.push(format!("mini-ACRN's log: {error}")),
        }
    }
    // Output that was in transit when the console closed.
    while let Ok(event) = events.recv_timeout(Duration::from_millis(200)) {
        if let Event::Report(line) = event {
            listener.report(&line);
        }
    }
    Ok(Outcome {
        faults: watch.faults,
        last_lines: watch.last_lines.into(),
        hypervisor_log,
    })
}

/// Returns the broken rules of ACRN in mini-ACRN's log, one a line.
fn broken_rules(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains(BROKEN_RULE));
    lines.map(str::to_owned).collect()
}

fn command(
    machine: &Machine,
    boot: Boot,
    parameters: &str,
    initramfs: &Path,
    report: &Path,
    hypervisor_log: &Path,
) -> Command {
    // On a busy host the kernel's check of the timer may fail.
    let mut parameters = format!(
        "console=ttyS0 panic=-1 no_timer_check {parameters} testbed.driver={} {}",
        machine.driver.name(),
        machine.append,
    );
    if boot == Boot::MiniAcrn {
        parameters += SERVICE_CPUS;
    }
    let mut command = Command::new(&machine.qemu);
    match machine.clock {
        Clock::Host => command.args(["-accel", "tcg,thread=multi"]),
        Clock::Instructions => command.args([
            "-accel",
            "tcg,thread=single",
            "-icount",
            "shift=0,sleep=off",
            "-rtc",
            "base=2026-01-01T00:00:00,clock=vm",
            "-seed",
            "1",
        ]),
    };
    command.args(["-cpu", "max", "-machine", "pc"]).args([
        "-smp",
        "11",
        "-m",
        "3G",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ]);
    // A function behind a bridge that can be reset alone. The Service VM has no driver for it.
    command
        .args(["-device", "pci-bridge,id=bridge,chassis_nr=1"])
        .args(["-device", "intel-hda,bus=bridge,addr=1"]);
    match boot {
        Boot::MiniAcrn => {
            // In -initrd a comma separates modules. A double comma is a comma.
            let escape = |text: String| text.replace(',', ",,");
            let kernel = escape(format!("{} {parameters}", machine.kernel.display()));
            let initramfs = escape(initramfs.display().to_string());
            command
                .arg("-kernel")
                .arg(&machine.hypervisor)
                .arg("-initrd")
                .arg(format!("{kernel},{initramfs}"))
        }
        Boot::Linux => command
            .arg("-kernel")
            .arg(&machine.kernel)
            .arg("-initrd")
            .arg(initramfs)
            .arg("-append")
            .arg(parameters),
    };
    command
        .args(["-serial", "stdio"])
        .args([
            "-chardev",
            &format!("socket,id=report,path={}", report.display()),
        ])
        .args(["-serial", "chardev:report"])
        .args(["-monitor", &monitor::option(&machine.work)])
        .arg("-debugcon")
        .arg(format!("file:{}", hypervisor_log.display()));
    command
}

/// Ends QEMU. If QEMU ends by itself, its status must be 0.
fn end(qemu: &mut Child, faults: &mut Vec<String>) -> io::Result<()> {
    for _ in 0..20 {
        if let Some(status) = qemu.try_wait()? {
            if !status.success() {
                faults.push(format!("QEMU: {status}"));
            }
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    qemu.kill()?;
    qemu.wait()?;
    if faults.is_empty() {
        faults.push("QEMU did not end, killed".to_owned());
    }
    Ok(())
}

fn read_console(mut console: impl Read, sender: &Sender<Event>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = console.read(&mut buffer) {
        if sender
            .send(Event::Console(buffer[..length].to_vec()))
            .is_err()
        {
            return;
        }
    }
    let _ = sender.send(Event::Closed);
}

fn read_report(report: impl Read, sender: &Sender<Event>) {
    use io::BufRead;
    for line in io::BufReader::new(report).lines().map_while(Result::ok) {
        if sender.send(Event::Report(line)).is_err() {
            return;
        }
    }
}

struct Watch {
    show: bool,
    console_log: fs::File,
    line: Vec<u8>,
    last_lines: VecDeque<String>,
    faults: Vec<String>,
}

impl Watch {
    /// Reads output of the console. Returns whether it contains a fatal line.
    fn console(&mut self, bytes: &[u8], listener: &mut dyn Listener) -> io::Result<bool> {
        self.console_log.write_all(bytes)?;
        if self.show {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()?;
        }
        let mut fatal = false;
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
            self.line.clear();
            let is_fatal = FATAL.iter().any(|sign| line.contains(sign));
            if is_fatal || is_warning(&line) {
                self.faults.push(format!("console: {line}"));
            }
            fatal |= is_fatal;
            listener.console(&line);
            if self.last_lines.len() == LAST_LINES {
                self.last_lines.pop_front();
            }
            self.last_lines.push_back(line);
        }
        Ok(fatal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::PermissionsExt, net::UnixStream};

    struct Silent;

    impl Listener for Silent {
        fn report(&mut self, _line: &str) {}
        fn console(&mut self, _line: &str) {}
    }

    /// The beginning of a script: `$log` is the file of `-debugcon`, which is the last argument.
    const LOG: &str = "for last; do :; done; log=${last#file:}";

    /// Runs a script instead of QEMU, on our driver.
    fn run_script(script: &str) -> Outcome {
        run_script_on(Driver::Rust, &format!("{LOG}; : >\"$log\"\n{script}"))
    }

    fn run_script_on(driver: Driver, script: &str) -> Outcome {
        run_script_in(&tempfile::tempdir().unwrap(), driver, script)
    }

    fn run_script_in(directory: &tempfile::TempDir, driver: Driver, script: &str) -> Outcome {
        let qemu = directory.path().join("qemu");
        fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        let machine = Machine {
            hypervisor: qemu.clone(),
            kernel: qemu.clone(),
            init: qemu.clone(),
            vmm: qemu.clone(),
            rust_driver: qemu.clone(),
            c_driver: None,
            driver,
            probes: Vec::new(),
            selftests: Vec::new(),
            work: directory.path().join("work"),
            qemu: qemu.to_string_lossy().into_owned(),
            append: String::new(),
            clock: Clock::Host,
        };
        let limits = Limits {
            timeout: Duration::from_secs(20),
            silence: Duration::from_secs(1),
        };
        run(&machine, Boot::MiniAcrn, &limits, "", false, &mut Silent).unwrap()
    }

    #[test]
    fn a_good_run_has_no_faults() {
        assert!(run_script("echo all is well").faults.is_empty());
    }

    #[test]
    fn crash_messages_have_no_numbers() {
        let script = "echo '[ 9.1] BUG: unable to handle page fault \
                      for address: ffffc90000123456'\n\
                      echo '[ 9.1] RIP: 0010:acrn_io+0x12/0x34 [acrn]'";
        let crash = run_script(script).crash().unwrap();
        assert_eq!(
            crash,
            "BUG: unable to handle page fault for address: ... in acrn_io"
        );
        assert_eq!(run_script("echo well").crash(), None);
    }

    #[test]
    fn a_silent_run_is_killed_and_its_last_line_kept() {
        let outcome = run_script("echo last words; exec sleep 60");
        assert_eq!(outcome.faults, ["silent for 1 s, killed"]);
        assert_eq!(outcome.last_lines, ["last words"]);
    }

    #[test]
    fn a_console_that_talks_on_is_no_report() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("work/report.socket");
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                let mut report = loop {
                    match UnixStream::connect(&socket) {
                        Ok(report) => break report,
                        Err(_) => thread::sleep(Duration::from_millis(10)),
                    }
                };
                report.write_all(b"KTAP version 1\n").unwrap();
            });
            let script = "while sleep 0.1; do echo trouble; done";
            run_script_in(&directory, Driver::C, script)
        });
        assert_eq!(outcome.faults, ["silent for 1 s, killed"]);
    }

    #[test]
    fn panics_and_bad_ends_are_faults() {
        assert_eq!(
            run_script("echo 'Kernel panic - not syncing: x'").faults,
            ["console: Kernel panic - not syncing: x"]
        );
        assert_eq!(run_script("exit 3").faults, ["QEMU: exit status: 3"]);
    }

    #[test]
    fn a_log_that_cannot_be_read_is_a_fault() {
        let faults = run_script_on(Driver::Rust, "exit 0").faults;
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("mini-ACRN's log: "), "{faults:?}");
    }

    #[test]
    fn broken_rules_are_faults_of_our_driver() {
        let script = |rule: &str| format!("{LOG}; echo 'mini-ACRN: RULE BROKEN{rule}' >\"$log\"");
        let outcome = run_script(&script(": VM 1, RESET_VM: x"));
        assert_eq!(
            outcome.faults,
            ["mini-ACRN: RULE BROKEN: VM 1, RESET_VM: x"]
        );
        let announced = script(" as announced: VM 1, RESET_VM: x");
        assert!(run_script(&announced).faults.is_empty());
        let upstream = run_script_on(Driver::C, &script(": VM 1, RESET_VM: x"));
        assert!(upstream.faults.is_empty());
    }
}
