// SPDX-License-Identifier: GPL-2.0

//! The module goes while something of it is left.

use acrn_selftests::{
    cpus,
    guest::{Guest, MEMORY, create_raw},
    harness::Outcome,
    hypercall::DESTROY_VM,
    leaks, module, need,
    probe::{Probe, fault},
    trace::Trace,
};
use mini_acrn_channel::vm_state;

/// A VM that the hypervisor would not destroy when its file was closed: it goes with the module, which gives its
/// memory back (A1).
pub fn unload_with_orphan() -> Outcome {
    let path = need!(module::path());
    let probe = need!(Probe::open());
    let cpus = need!(cpus::pick(1));
    let before = leaks::pinned_pages().expect("/proc/vmstat");
    let guest = Guest::new(cpus);
    let vmid = guest.vm.vmid();
    probe.push_fault(fault(DESTROY_VM, -1));
    guest.close();
    let left = probe.vm(vmid).expect("the VM that was not destroyed");
    assert_eq!(left.state, vm_state::PAUSED);
    let pins = 1 + MEMORY as i64 / 4096;
    assert_eq!(leaks::pinned_pages(), Some(before + pins));

    let trace = Trace::start(&probe);
    module::unload();
    assert_eq!(trace.calls(DESTROY_VM).len(), 1);
    assert_eq!(probe.vms().len(), 0, "VMs");
    assert_eq!(leaks::pinned_pages(), Some(before));

    module::load(&path);
    create_raw(cpus);
    Outcome::Passed
}
