// SPDX-License-Identifier: GPL-2.0

//! Prints the cases of one command, each in a line:
//!
//! `transcript: COMMAND.case | result | observations | hypercalls`

use acrn_selftests::{
    device::{Argument, Device},
    guest_memory::{GuestMemory, PAGE},
    probe::{Probe, fault},
    trace::Trace,
};
use acrn_uapi::ioctl::ALL;
use nix::errno::Errno;
use zerocopy::{Immutable, IntoBytes};

use crate::normal::{calls, changes};

/// The result of a case.
pub type Done = Result<(), Errno>;

/// The cases of a command.
pub struct Script<'a> {
    probe: &'a Probe,
    request: u32,
    name: &'static str,
}

/// Returns the name of a request without the common prefix.
fn name(request: u32) -> &'static str {
    let known = ALL.iter().find(|(number, _)| *number == request);
    known.map_or("UNKNOWN", |(_, name)| {
        name.trim_start_matches("ACRN_IOCTL_")
    })
}

/// The bytes of an argument. Inaccessible memory follows them.
pub struct Bytes {
    memory: GuestMemory,
    size: usize,
}

impl Bytes {
    /// Creates an argument with these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let memory = GuestMemory::anonymous(2 * PAGE);
        memory.unmap(PAGE, PAGE);
        let size = bytes.len();
        memory.write_bytes(PAGE - size, bytes);
        Self { memory, size }
    }

    /// Returns the address of the bytes.
    pub fn argument(&self) -> Argument<'_> {
        Argument::At(&self.memory, PAGE - self.size)
    }

    /// Makes the bytes read-only.
    pub fn protect(&self) {
        self.memory.protect();
        self.memory.unmap(PAGE, PAGE);
    }

    /// Returns the current bytes.
    pub fn read(&self) -> Vec<u8> {
        let bytes = PAGE - self.size..PAGE;
        bytes.map(|at| self.memory.read::<u8>(at)).collect()
    }
}

impl<'a> Script<'a> {
    /// Creates the cases of `request`.
    pub fn of(probe: &'a Probe, request: u32) -> Self {
        Self::called(probe, request, name(request))
    }

    /// Creates the cases of a request with this name. The request need not be a command.
    pub fn called(probe: &'a Probe, request: u32, name: &'static str) -> Self {
        Self {
            probe,
            request,
            name,
        }
    }

    /// Calls `act`, and prints its result, its observations, and the hypercalls.
    pub fn case(&self, case: &str, act: impl FnOnce() -> (Done, String)) -> Done {
        let trace = Trace::start(self.probe);
        let (done, seen) = act();
        self.probe.clear_faults();
        let result = match done {
            Ok(()) => "0".to_owned(),
            Err(errno) => format!("{errno:?}"),
        };
        let calls = calls(&trace.records());
        let shown = |text: String| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        println!(
            "transcript: {}.{case} | {result} | {} | {}",
            self.name,
            shown(seen),
            shown(calls)
        );
        done
    }

    /// Issues the command with an argument that it does not write.
    pub fn call(&self, case: &str, device: &Device, argument: Argument<'_>) -> Done {
        self.case(case, || {
            (device.ioctl(self.request, argument), String::new())
        })
    }

    /// Issues the command without an argument.
    pub fn plain(&self, case: &str, device: &Device) -> Done {
        self.call(case, device, Argument::NULL)
    }

    /// Issues the command with these bytes, and prints the bytes that it changed.
    pub fn bytes(&self, case: &str, device: &Device, bytes: &[u8]) -> Done {
        self.case(case, || {
            let argument = Bytes::new(bytes);
            let done = device.ioctl(self.request, argument.argument());
            (done, changes(bytes, &argument.read()))
        })
    }

    /// Issues the command with a structure.
    pub fn with<T: IntoBytes + Immutable>(&self, case: &str, device: &Device, value: &T) -> Done {
        self.bytes(case, device, value.as_bytes())
    }

    /// Issues the command with pointers to inaccessible and partly inaccessible memory.
    pub fn bad_pointers(&self, device: &Device) {
        let memory = GuestMemory::anonymous(2 * PAGE);
        memory.unmap(PAGE, PAGE);
        let arguments = [
            ("null", Argument::NULL),
            ("kernel", Argument::KERNEL),
            ("not_canonical", Argument::Number(1 << 63)),
            ("last_byte", Argument::Number(u64::MAX)),
            ("unmapped", Argument::At(&memory, PAGE)),
            ("half_unmapped", Argument::At(&memory, PAGE - 4)),
        ];
        for (what, argument) in arguments {
            let _ = self.call(&format!("pointer_{what}"), device, argument);
        }
    }

    /// Issues the command while the hypervisor returns errors of `hypercall`.
    pub fn refused(&self, device: &Device, hypercall: u32, argument: &[u8]) {
        for errno in [Errno::EIO, Errno::ENOTTY] {
            self.probe
                .push_fault(fault(hypercall, -i64::from(errno as i32)));
            let _ = self.bytes(&format!("hypervisor_{errno:?}"), device, argument);
        }
    }

    /// Issues the command on a file without a VM.
    pub fn without_vm(&self, argument: &[u8]) {
        if let Ok(device) = Device::open() {
            let _ = self.bytes("no_vm", &device, argument);
        }
    }
}
