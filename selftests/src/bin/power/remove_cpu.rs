// SPDX-License-Identifier: GPL-2.0

//! sysfs `remove_cpu`: gives a CPU of the Service VM to the hypervisor.
//!
//! On mini-ACRN the CPU comes back when Linux takes it online again, see [`bring_back`].

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use acrn_selftests::{
    harness::Outcome,
    hypercall::SERVICE_VM_OFFLINE_CPU,
    need,
    probe::{Probe, fault},
    skip,
    trace::Trace,
};
use nix::errno::Errno;

const ATTRIBUTE: &str = "/sys/devices/virtual/misc/acrn_hsm/remove_cpu";
const CPUS: &str = "/sys/devices/system/cpu";
/// The CPU that goes.
const CPU: usize = 1;
/// Its LAPIC id on the test-bed.
const LAPIC_ID: u64 = 2;

fn cpu_file(name: &str) -> PathBuf {
    PathBuf::from(format!("{CPUS}/cpu{CPU}/{name}"))
}

/// What a write to a file of sysfs says.
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

fn is_online() -> bool {
    fs::read_to_string(cpu_file("online")).is_ok_and(|text| text.trim() == "1")
}

/// Brings the CPU back that a test gave away.
pub fn bring_back() {
    if cpu_file("online").exists() && !is_online() {
        put(cpu_file("online"), "1").expect("the CPU comes back");
    }
}

/// Who has the CPU.
struct Bench {
    probe: Probe,
}

impl Bench {
    fn new() -> Result<Self, String> {
        let probe = Probe::open()?;
        // Should a test before this one have failed.
        bring_back();
        if !is_online() {
            return Err(format!("the Service VM has no CPU {CPU}"));
        }
        Ok(Self { probe })
    }

    /// Local APICs that the hypervisor was told to take.
    fn told(&self, trace: &Trace<'_>) -> Vec<u64> {
        let calls = trace.calls(SERVICE_VM_OFFLINE_CPU);
        calls.iter().map(|call| call.p1).collect()
    }

    /// Whether User VMs may have the CPU.
    fn is_free(&self) -> bool {
        self.probe.free_cpus() & 1 << CPU != 0
    }
}

/// Root may write, nobody may read. It belongs to the device, so that it is there as soon as the device is;
/// that it is before the first uevent cannot be seen from here.
pub fn is_there() -> Outcome {
    let attribute = fs::metadata(ATTRIBUTE).expect(ATTRIBUTE);
    assert_eq!(attribute.permissions().mode() & 0o7777, 0o200);
    assert_eq!(attribute.len(), 4096, "an attribute of sysfs");
    Outcome::Passed
}

/// What names no CPU that could go. Nothing happens.
pub fn bad_writes() -> Outcome {
    let bench = need!(Bench::new());
    let possible = fs::read_to_string(format!("{CPUS}/possible")).expect("possible CPUs");
    let last: usize = possible
        .trim()
        .rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a list of CPUs");
    let trace = Trace::start(&bench.probe);
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
        // Beyond the last one.
        (last + 1).to_string(),
        "255".to_owned(),
        "65537".to_owned(),
        "4294967297".to_owned(),
        "18446744073709551615".to_owned(),
        "18446744073709551616".to_owned(),
        "36893488147419103233".to_owned(),
    ] {
        assert_eq!(remove(&text), Err(Errno::EINVAL), "{text:?}");
    }
    // A write of nothing never gets to the driver.
    assert_eq!(remove(""), Ok(()));
    assert_eq!(trace.ids(), [], "hypercalls");
    assert!(is_online());
    Outcome::Passed
}

/// A long write is refused as well.
pub fn long_write() -> Outcome {
    let bench = need!(Bench::new());
    let trace = Trace::start(&bench.probe);
    let text = format!("1{}", "0".repeat(3000));
    assert_eq!(remove(&text), Err(Errno::EINVAL));
    assert_eq!(trace.ids(), [], "hypercalls");
    assert!(is_online());
    Outcome::Passed
}

/// The hypervisor refuses: the CPU is back, and its word is passed on.
pub fn refused() -> Outcome {
    let bench = need!(Bench::new());
    for errno in [Errno::EPERM, Errno::EINVAL, Errno::ENOTTY] {
        let result = -i64::from(errno as i32);
        bench
            .probe
            .push_fault(fault(SERVICE_VM_OFFLINE_CPU, result));
        let trace = Trace::start(&bench.probe);
        assert_eq!(remove("1"), Err(errno));
        assert_eq!(bench.told(&trace), [LAPIC_ID]);
        assert!(is_online(), "the CPU is not back");
        assert!(!bench.is_free());
    }
    Outcome::Passed
}

/// As launch scripts do it: offline first, then the number.
pub fn after_offline() -> Outcome {
    let bench = need!(Bench::new());
    put(cpu_file("online"), "0").expect("the CPU goes offline");
    let trace = Trace::start(&bench.probe);
    assert_eq!(remove("1\n"), Ok(()));
    assert_eq!(bench.told(&trace), [LAPIC_ID]);
    assert!(!is_online());
    assert!(bench.is_free());
    Outcome::Passed
}

/// The number alone: the driver takes the CPU offline.
pub fn from_online() -> Outcome {
    let bench = need!(Bench::new());
    for text in ["1", "0x1\n"] {
        let trace = Trace::start(&bench.probe);
        assert_eq!(remove(text), Ok(()));
        assert_eq!(bench.told(&trace), [LAPIC_ID]);
        assert!(!is_online());
        assert!(bench.is_free());
        put(cpu_file("online"), "1").expect("the CPU comes back");
        assert!(!bench.is_free());
    }
    Outcome::Passed
}

/// A state of CPU hotplug that can be made to fail on the way down.
fn fallible_state() -> Option<String> {
    let states = fs::read_to_string(format!("{CPUS}/hotplug/states")).ok()?;
    let line = states
        .lines()
        .find(|line| line.ends_with("sched:active") || line.ends_with("workqueue:online"))?;
    Some(line.split(':').next()?.trim().to_owned())
}

/// Linux cannot do without the CPU: the hypervisor must not get it (A18).
pub fn offline_fails() -> Outcome {
    let bench = need!(Bench::new());
    let Some(state) = fallible_state() else {
        skip!("no state of CPU hotplug that could fail");
    };
    if let Err(error) = put(cpu_file("hotplug/fail"), &state) {
        skip!("no fault injection for CPU hotplug: {error}");
    }
    // Upstream's driver would go on, and lose a CPU that runs.
    bench.probe.push_fault(fault(SERVICE_VM_OFFLINE_CPU, -1));
    let trace = Trace::start(&bench.probe);
    let refused = remove("1");
    // No longer, should it not have failed.
    put(cpu_file("hotplug/fail"), "-1").expect("hotplug/fail");
    assert_eq!(refused, Err(Errno::EAGAIN));
    assert_eq!(trace.ids(), [], "hypercalls");
    assert!(is_online());
    Outcome::Passed
}

/// The file cannot be read even by root.
pub fn cannot_be_read() -> Outcome {
    let read = File::open(ATTRIBUTE).and_then(io::read_to_string);
    assert!(read.is_err(), "{read:?}");
    Outcome::Passed
}
