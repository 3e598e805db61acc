// SPDX-License-Identifier: GPL-2.0

//! P10: the device model is killed.

use std::{
    thread,
    time::{Duration, Instant},
};

use acrn_ioctls::MemoryAttributes;
use acrn_selftests::{
    cpus,
    guest::Guest,
    guest_memory::GuestMemory,
    harness::{self, Outcome},
    need,
    probe::Probe,
    program::{self, ENTRY},
};

use crate::{clock::now, figure::Figure};

/// Bytes of additional guest memory.
const SIZE: usize = 254 << 20;
/// Bytes of it if nothing is measured.
const SMALL: usize = 16 << 20;
const AT: u64 = 2 << 20;
/// Time after which the VM is considered left behind.
const PATIENCE: Duration = Duration::from_secs(2);
/// Resolution of the measurement.
const STEP: Duration = Duration::from_micros(20);

/// Measures the time from SIGKILL until the hypervisor has destroyed the VM.
pub fn killed() -> Outcome {
    let probe = need!(Probe::open());
    let mut child = match harness::start(harness::helper("victim")) {
        Ok(child) => child,
        Err(reason) => acrn_selftests::skip!("{}", reason.trim()),
    };
    let vmid = probe.vms()[0].vmid;
    let (from, began) = (now(), Instant::now());
    child.kill().expect("SIGKILL");
    while probe.vm(vmid).is_some() && began.elapsed() < PATIENCE {
        thread::sleep(STEP);
    }
    let ticks = now() - from;
    child.wait().expect("the device model");
    match probe.vm(vmid) {
        None => Figure::of("P10", "killed").with("value", ticks).print(),
        Some(_) => {
            Figure::of("P10", "killed").with("waited", ticks).print();
            probe.destroy(vmid);
        }
    }
    Outcome::Passed
}

/// A device model with a running guest.
pub fn victim() -> Outcome {
    let program = program::assemble(64, ENTRY, program::done);
    let guest = Guest::long_mode(need!(cpus::pick(1)), &program);
    let memory = GuestMemory::anonymous(harness::rounds().map_or(SMALL, |_| SIZE));
    memory.number_pages(0);
    // SAFETY: The memory is only accessed by volatile reads and writes, see `GuestMemory`.
    unsafe {
        guest.vm.set_memory(
            AT,
            memory.address(),
            memory.len() as u64,
            MemoryAttributes::RAM,
        )
    }
    .expect("SET_MEMSEG");
    guest.vm.start().expect("START_VM");
    guest.serve(1, |_, _| 0);
    harness::ready();
    loop {
        thread::park();
    }
}
