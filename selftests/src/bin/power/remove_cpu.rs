// SPDX-License-Identifier: GPL-2.0

//! Tests of the sysfs attribute `remove_cpu`, which hands a CPU of the Service VM over to the
//! hypervisor.
//!
//! Such a CPU never comes back. Each test that removes a CPU therefore uses a CPU that the Service
//! VM's kernel has not started yet. mini-ACRN shows the kernel all CPUs of the machine.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use acrn_selftests::{
    cpus,
    harness::Outcome,
    held_hypercall::HeldHypercall,
    hypercall::SERVICE_VM_OFFLINE_CPU,
    need,
    probe::{Probe, fault},
    skip,
    trace::Trace,
    waiter::{SleepingCommand, until},
};
use mini_acrn_channel::ANY_VM;
use nix::errno::Errno;

const ATTRIBUTE: &str = "/sys/devices/virtual/misc/acrn_hsm/remove_cpu";
const CPUS: &str = "/sys/devices/system/cpu";
/// An online CPU that no test removes.
const CPU: usize = 1;

fn cpu_file(cpu: usize, name: &str) -> PathBuf {
    PathBuf::from(format!("{CPUS}/cpu{cpu}/{name}"))
}

/// Writes to a file of sysfs, and returns the result.
fn put(path: impl Into<PathBuf>, text: &str) -> Result<(), Errno> {
    let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let open = OpenOptions::new().write(true).open(path.into());
    let written = open.map_err(errno)?.write(text.as_bytes());
    written
        .map_err(errno)
        .map(|len| assert_eq!(len, text.len(), "{text:?}"))
}

fn remove(text: &str) -> Result<(), Errno> {
    put(ATTRIBUTE, text)
}

fn is_online(cpu: usize) -> bool {
    fs::read_to_string(cpu_file(cpu, "online")).is_ok_and(|text| text.trim() == "1")
}

/// Returns the number of the last possible CPU.
fn last_cpu() -> usize {
    let possible = fs::read_to_string(format!("{CPUS}/possible")).expect("possible CPUs");
    let last = possible.trim().rsplit('-').next();
    last.and_then(|number| number.parse().ok())
        .expect("a list of CPUs")
}

/// A CPU of the Service VM, and the probe that shows its owner.
struct Subject {
    probe: Probe,
    cpu: usize,
    lapic: u64,
}

impl Subject {
    /// Returns the CPU that no test removes.
    fn staying() -> Result<Self, String> {
        if !is_online(CPU) {
            return Err(format!("the Service VM has no CPU {CPU}"));
        }
        Self::new(CPU)
    }

    /// Returns the `number`th CPU, counted down from the last one. The kernel has not started it.
    /// Each test needs a CPU of its own, because removed CPUs do not come back.
    fn not_started(number: usize) -> Result<Self, String> {
        let cpu = last_cpu().checked_sub(number).filter(|cpu| *cpu > CPU);
        let cpu = cpu.ok_or("the machine has too few CPUs")?;
        if is_online(cpu) {
            return Err(format!("the Service VM's kernel uses CPU {cpu}"));
        }
        Self::new(cpu)
    }

    /// Returns the CPU of [`Subject::not_started`] after starting it.
    fn started(number: usize) -> Result<Self, String> {
        let subject = Self::not_started(number)?;
        subject.start().map_err(|error| {
            let cpu = subject.cpu;
            format!("CPU {cpu} does not start, because it was removed before: {error}")
        })?;
        assert!(!subject.is_free());
        Ok(subject)
    }

    fn new(cpu: usize) -> Result<Self, String> {
        Ok(Self {
            probe: Probe::open()?,
            cpu,
            lapic: cpus::apic_id(cpu)?.into(),
        })
    }

    /// Makes the kernel start the CPU, and returns the result.
    fn start(&self) -> Result<(), Errno> {
        put(cpu_file(self.cpu, "online"), "1")
    }

    fn is_online(&self) -> bool {
        is_online(self.cpu)
    }

    /// Returns the ids of the local APICs whose CPUs the driver has handed over to the hypervisor.
    fn handed_over(&self, trace: &Trace<'_>) -> Vec<u64> {
        let calls = trace.calls(SERVICE_VM_OFFLINE_CPU);
        calls.iter().map(|call| call.p1).collect()
    }

    /// Returns whether User VMs may use the CPU.
    fn is_free(&self) -> bool {
        self.probe.free_cpus() & 1 << self.cpu != 0
    }

    /// Panics unless the CPU is removed permanently: the Service VM cannot start it, and User VMs
    /// may use it.
    #[track_caller]
    fn assert_gone(&self) {
        let cpu = self.cpu;
        let assert_offline_and_free = |when| {
            assert!(!self.is_online(), "CPU {cpu} is online {when}");
            assert!(self.is_free(), "CPU {cpu} is not free for User VMs {when}");
        };
        assert_offline_and_free("after its removal");
        assert_eq!(self.start(), Err(Errno::EIO), "start of the removed CPU");
        assert_offline_and_free("after the start that failed");
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Other tests need CPUs for User VMs even after a failed test.
        if self.cpu != CPU && self.is_online() {
            let _ = put(cpu_file(self.cpu, "online"), "0");
            self.probe.call(SERVICE_VM_OFFLINE_CPU, self.lapic, 0);
        }
    }
}

/// Root may write to the attribute, and its mode does not allow reading. The attribute belongs to
/// the device, so it exists as soon as the device does. This test cannot check whether it exists
/// before the first uevent.
pub fn remove_cpu_is_there() -> Outcome {
    let attribute = fs::metadata(ATTRIBUTE).expect(ATTRIBUTE);
    assert_eq!(attribute.permissions().mode() & 0o7777, 0o200);
    assert_eq!(attribute.len(), 4096, "size of a sysfs attribute");
    Outcome::Passed
}

/// Invalid CPU numbers are refused with `EINVAL` and have no effect.
pub fn remove_cpu_bad_writes() -> Outcome {
    let fixture = need!(Subject::staying());
    let trace = Trace::start(&fixture.probe);
    for text in [
        "\n".to_owned(),
        " ".to_owned(),
        "cpu1".to_owned(),
        "1x".to_owned(),
        "1 1".to_owned(),
        "-1".to_owned(),
        "0x".to_owned(),
        // The boot CPU.
        "0".to_owned(),
        "0\n".to_owned(),
        // Numbers beyond the last CPU.
        (last_cpu() + 1).to_string(),
        "255".to_owned(),
        "65537".to_owned(),
        "4294967297".to_owned(),
        "18446744073709551615".to_owned(),
        "18446744073709551616".to_owned(),
        "36893488147419103233".to_owned(),
    ] {
        assert_eq!(remove(&text), Err(Errno::EINVAL), "{text:?}");
    }
    // The kernel does not pass an empty write to the driver.
    assert_eq!(remove(""), Ok(()));
    trace.assert_no_hypercalls();
    assert!(fixture.is_online());
    Outcome::Passed
}

/// A long write is refused with `EINVAL` and has no effect either.
pub fn remove_cpu_long_write() -> Outcome {
    let fixture = need!(Subject::staying());
    let trace = Trace::start(&fixture.probe);
    let text = format!("1{}", "0".repeat(3000));
    assert_eq!(remove(&text), Err(Errno::EINVAL));
    trace.assert_no_hypercalls();
    assert!(fixture.is_online());
    Outcome::Passed
}

/// If the hypervisor refuses, the driver brings the CPU online again and passes the error on.
pub fn remove_cpu_refused() -> Outcome {
    let fixture = need!(Subject::staying());
    for errno in [Errno::EPERM, Errno::EINVAL, Errno::ENOTTY] {
        let result = -i64::from(errno as i32);
        fixture
            .probe
            .push_fault(fault(SERVICE_VM_OFFLINE_CPU, result));
        let trace = Trace::start(&fixture.probe);
        assert_eq!(remove("1"), Err(errno));
        assert_eq!(fixture.handed_over(&trace), [fixture.lapic]);
        assert!(fixture.is_online(), "the CPU is not online again");
        assert!(!fixture.is_free());
    }
    Outcome::Passed
}

/// A task that starts the CPU during the hypercall waits. Otherwise Linux would run on a CPU that
/// it has handed over.
pub fn remove_cpu_under_way() -> Outcome {
    let fixture = need!(Subject::staying());
    fixture.probe.push_fault(fault(SERVICE_VM_OFFLINE_CPU, -1));
    let held = HeldHypercall::start(&fixture.probe, SERVICE_VM_OFFLINE_CPU, ANY_VM, || {
        remove("1")
    });
    let start = SleepingCommand::start_or_finish(|| put(cpu_file(CPU, "online"), "1"));
    // A stack does not show the functions of locks: in the innermost one, the start waits for one.
    until("the start waits for the lock of CPUs", || {
        start.stack().starts_with("[<0>] _cpu_up") || !start.waits()
    });
    let waits = start.waits();
    assert_eq!(held.release(), Err(Errno::EPERM));
    assert_eq!(start.result(), Ok(()));
    assert!(waits, "the start did not wait for the hypercall");
    assert!(fixture.is_online(), "the CPU is not online again");
    Outcome::Passed
}

/// Launch scripts take a CPU offline first and then write to `remove_cpu`. The CPU can be started
/// again before that write, but not afterwards.
pub fn remove_cpu_after_offline() -> Outcome {
    let subject = need!(Subject::started(0));
    let file = || cpu_file(subject.cpu, "online");
    for text in ["0", "1", "0"] {
        put(file(), text).expect("offline and online");
        assert!(!subject.is_free());
    }
    let trace = Trace::start(&subject.probe);
    assert_eq!(remove(&format!("{}\n", subject.cpu)), Ok(()));
    assert_eq!(subject.handed_over(&trace), [subject.lapic]);
    subject.assert_gone();
    Outcome::Passed
}

/// If a CPU is online, the write to `remove_cpu` alone removes it: the driver takes the CPU
/// offline.
pub fn remove_cpu_from_online() -> Outcome {
    for (number, prefix) in [(1, ""), (2, "0x")] {
        let subject = need!(Subject::started(number));
        let trace = Trace::start(&subject.probe);
        assert_eq!(remove(&format!("{prefix}{}", subject.cpu)), Ok(()));
        assert_eq!(subject.handed_over(&trace), [subject.lapic]);
        subject.assert_gone();
    }
    Outcome::Passed
}

/// A CPU that the kernel knows but has not started can be removed.
pub fn not_started() -> Outcome {
    let subject = need!(Subject::not_started(3));
    assert!(subject.is_free());
    let trace = Trace::start(&subject.probe);
    assert_eq!(remove(&subject.cpu.to_string()), Ok(()));
    assert_eq!(subject.handed_over(&trace), [subject.lapic]);
    subject.assert_gone();
    Outcome::Passed
}

/// Returns a CPU hotplug state that can be made to fail while a CPU goes offline.
fn fallible_state() -> Option<String> {
    let states = fs::read_to_string(format!("{CPUS}/hotplug/states")).ok()?;
    let line = states
        .lines()
        .find(|line| line.ends_with("sched:active") || line.ends_with("workqueue:online"))?;
    Some(line.split(':').next()?.trim().to_owned())
}

/// If Linux cannot take the CPU offline, the driver must not hand it over to the hypervisor (A18).
pub fn remove_cpu_offline_fails() -> Outcome {
    let fixture = need!(Subject::staying());
    let Some(state) = fallible_state() else {
        skip!("no CPU hotplug state can be made to fail");
    };
    if let Err(error) = put(cpu_file(CPU, "hotplug/fail"), &state) {
        skip!("no fault injection for CPU hotplug: {error}");
    }
    // Upstream's driver would continue, and lose a CPU that is online.
    fixture.probe.push_fault(fault(SERVICE_VM_OFFLINE_CPU, -1));
    let trace = Trace::start(&fixture.probe);
    let refused = remove("1");
    // Disables the hotplug fault if it has not been used.
    put(cpu_file(CPU, "hotplug/fail"), "-1").expect("hotplug/fail");
    assert_eq!(refused, Err(Errno::EAGAIN));
    trace.assert_no_hypercalls();
    assert!(fixture.is_online());
    Outcome::Passed
}

/// Even root cannot read the attribute.
pub fn remove_cpu_cannot_be_read() -> Outcome {
    let read = File::open(ATTRIBUTE).and_then(io::read_to_string);
    assert!(read.is_err(), "{read:?}");
    Outcome::Passed
}
